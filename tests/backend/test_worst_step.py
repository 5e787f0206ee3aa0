"""The steps that need the most memory."""

from __future__ import annotations

from lightllm_rs.backend.options import Capacity
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.backend.worst_step import WorstSteps, worst_capacity


def test_the_worst_steps_run(backend: TorchBackend) -> None:
    backend.open(worst_capacity(backend.capacity, 64))
    worst = WorstSteps.of(backend.capacity, 64)
    slots = backend.capacity.slots
    for step in (0, 2):  # twice: the second time the slots are taken
        first, second = [backend.launch(plan) for plan in worst.plans(step, held=step > 0)]
        outcome = first.outcome()
        assert outcome.rows.size == slots - 1
        assert [len(extra.prompt_logprobs) for extra in outcome.extras] == [7] * (slots - 1) + [8]
        outcome = second.outcome()
        assert outcome.rows.size == slots == len(outcome.extras)
        assert len(outcome.extras[-1].prompt_logprobs) == 64 - slots
        assert [plan.tokens.sum() for plan in worst.plans()] == [64, 64]


def test_one_worst_step_where_the_context_is_short() -> None:
    worst = WorstSteps.of(Capacity(pages=9, page_size=4, slots=3, vocab=50, context=1), 64)
    (plan,) = worst.plans()
    assert plan.tokens.tolist() == [1, 1, 1]
    assert plan.emits.all()
