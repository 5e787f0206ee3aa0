"""The torch backend driven by hand-made plans on a CPU: the same tokens as a whole forward pass of the same model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from helpers.plan_driver import Driver, with_settings
from helpers.replayed import HostStaging, replayed_graphs
from helpers.tiny_models import make_tiny_model
from helpers.whole_pass import WholePass, prompt_of
from lightllm_rs.backend.errors import StepError
from lightllm_rs.backend.graphs import batch_sizes
from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.torch_backend import STAGED_WORDS, TorchBackend
from lightllm_rs.backend.worst_step import WorstSteps, worst_capacity
from lightllm_rs.messages.frames import pack_u32

CAPACITY = Capacity(pages=1024, page_size=4, slots=8, vocab=384, context=512)
OPTIONS = {"kv_cache_tokens": 4096, "page_size": 4, "slots": 8, "threads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


KINDS = ["cpu", "replayed", *(pytest.param(kind, marks=pytest.mark.gpu) for kind in ("eager", "graphs"))]


@pytest.fixture(scope="module", params=KINDS)
def loaded(folder: Path, request: pytest.FixtureRequest) -> tuple[TorchBackend, bool]:
    """The loaded model on a CPU, also with captured steps as far as that goes, on a GPU, and there with captured
    graphs; always in float32."""
    graphs = request.param in ("graphs", "replayed")
    if request.param in ("cpu", "replayed"):
        options = BackendOptions(str(folder), **OPTIONS)
    elif torch.cuda.is_available():
        options = BackendOptions(str(folder), **OPTIONS, device="cuda", dtype="float32", eager=True)
    else:
        pytest.skip("no CUDA device")
    backend = TorchBackend()
    backend.init_model(options, lambda *_: None)
    return backend, graphs


@pytest.fixture
def backend(loaded: tuple[TorchBackend, bool]) -> Iterator[TorchBackend]:
    """The same with an empty cache."""
    backend, graphs = loaded
    with replayed_graphs() if backend.device.type == "cpu" and graphs else nullcontext():
        backend.open(CAPACITY)
        if graphs:
            backend.staging = backend.staging or HostStaging(STAGED_WORDS, backend.device)
            backend.capture()
        yield backend
    backend.staging = None


@pytest.fixture
def driver(backend: TorchBackend) -> Driver:
    return Driver(backend)


@pytest.fixture(scope="module")
def whole(loaded: tuple[TorchBackend, bool]) -> WholePass:
    return WholePass(loaded[0])


def test_capacity(folder: Path) -> None:
    backend = TorchBackend()
    phases = []
    capacity = backend.init_model(BackendOptions(str(folder), **OPTIONS), lambda *phase: phases.append(phase))
    assert capacity == backend.capacity == CAPACITY
    assert [name for name, _, _ in phases] == ["device", "weights", "kv cache"]


def test_sizes_of_captured_batches() -> None:
    assert batch_sizes(1) == [1]
    assert batch_sizes(20) == [1, 2, 4, 8, 16, 20]
    assert batch_sizes(300)[-3:] == [256, 288, 300]


def test_one_request(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 11)
    driver.attach(3, ids)
    assert driver.generate(3, 12) == whole.greedy(ids, 12)


def test_chunks_mixed_steps_and_slot_reuse(driver: Driver, whole: WholePass) -> None:
    first, second, third = prompt_of(1, 9), prompt_of(2, 14), prompt_of(3, 6)
    driver.attach(0, first)
    driver.prefill(0)
    driver.step()
    driver.attach(1, second)
    for size in (5, 1, 8):
        driver.prefill(1, size)
        driver.decode(0)
        driver.step()
    assert driver.slots[0].ids == first + whole.greedy(first, 4)
    assert driver.slots[1].ids == second + whole.greedy(second, 1)
    driver.detach(0, free=True)
    driver.attach(0, third)
    driver.prefill(0)
    driver.decode(1)
    driver.step()
    driver.decode(1)
    driver.decode(0)
    driver.step()
    assert driver.slots[0].ids == third + whole.greedy(third, 2)
    assert driver.slots[1].ids == second + whole.greedy(second, 3)


def test_prefix_pages_are_reused_and_copied(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 12)
    driver.attach(0, ids)
    driver.generate(0, 3)
    other = ids[:8] + prompt_of(5, 5)
    driver.attach(1, other, prefix_pages=driver.slots[0].pages[:2])
    assert driver.generate(1, 5) == whole.greedy(other, 5)
    last = driver.free_pages.pop()
    driver.copy_page(driver.slots[0].pages[2], last)
    third = ids + prompt_of(6, 1)
    driver.attach(2, third, prefix_pages=[*driver.slots[0].pages[:2], last])
    assert driver.generate(2, 5) == whole.greedy(third, 5)


def test_a_preempted_request_goes_on_where_it_was(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 7)
    driver.attach(0, ids)
    known = ids + driver.generate(0, 5)
    driver.detach(0, free=True)
    driver.attach(4, known, prompt_len=len(ids))
    assert driver.generate(4, 4) == whole.greedy(ids, 9)[5:]


def test_the_next_plan_needs_no_result(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 5)
    driver.attach(0, ids)
    driver.prefill(0)
    launched = [driver.launch()]
    for _ in range(3):
        driver.decode(0)
        launched.append(driver.launch())
    assert [driver.finish(step).tokens[0] for step in launched] == whole.greedy(ids, 4)


def test_a_row_that_is_not_finite_fails_alone(backend: TorchBackend, driver: Driver, whole: WholePass) -> None:
    ids, poisoned = prompt_of(1, 8), prompt_of(2, 16)
    driver.attach(0, ids)
    driver.attach(1, poisoned)
    driver.prefill(0)
    driver.prefill(1, 8)
    driver.step()
    backend.kv.v[0, driver.slots[1].pages[0]] = torch.nan
    driver.prefill(1, 4)
    driver.decode(0)
    result = driver.step()
    assert "not finite" in result.extras[1].error
    driver.prefill(1)
    driver.decode(0)
    result = driver.step()
    assert "not finite" in result.extras[1].error
    assert set(result.extras) == {1}
    assert driver.slots[0].ids == ids + whole.greedy(ids, 3)


def test_log_probabilities(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 13)
    driver.attach(0, ids, with_settings(logprobs=5, prompt_logprobs=2))
    driver.attach(1, prompt_of(2, 5))
    driver.prefill(1)
    driver.prefill(0, 6)
    first = driver.step().extras
    assert set(first) == {0}
    assert (first[0].prompt_start, len(first[0].prompt_logprobs), first[0].logprobs) == (1, 6, None)
    driver.decode(1)
    driver.prefill(0)
    second = driver.step().extras[0]
    assert (second.prompt_start, len(second.prompt_logprobs)) == (7, 6)
    driver.decode(1)
    driver.decode(0)
    third = driver.step().extras[0]
    assert third.prompt_logprobs is None
    entries = first[0].prompt_logprobs + second.prompt_logprobs
    whole.check_logprobs(driver.slots[0].ids, 1, entries, 2)
    whole.check_logprobs(driver.slots[0].ids, 13, [*second.logprobs, *third.logprobs], 5)


def test_prompt_scores_are_made_in_parts(driver: Driver, whole: WholePass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightllm_rs.backend.sampling.logprobs.CHUNK_ROWS", 3)
    ids = prompt_of(1, 11)
    driver.attach(0, ids, with_settings(prompt_logprobs=1))
    driver.prefill(0)
    extra = driver.step().extras[0]
    assert extra.logprobs is None
    whole.check_logprobs(ids, 1, extra.prompt_logprobs, 1)


def test_a_step_without_rows(driver: Driver) -> None:
    driver.attach(0, prompt_of(1, 5))
    driver.prefill(0)
    driver.step()
    driver.detach(0)
    assert driver.step().tokens == {}


def test_seeded_requests_do_not_depend_on_the_batch(driver: Driver) -> None:
    settings = {
        0: with_settings(temperature=1.0, seed=11),
        1: with_settings(temperature=0.9, seed=12, top_p=0.9),
        2: with_settings(temperature=1.1, seed=13, top_k=20, frequency=0.4, presence=-0.2),
        3: with_settings(temperature=0.0, repetition=1.2),
    }
    prompts = {slot: prompt_of(slot, 5 + 3 * slot) for slot in settings}
    alone = {}
    for slot, sampling in settings.items():
        driver.attach(slot, prompts[slot], sampling)
        alone[slot] = driver.generate(slot, 8)
        driver.detach(slot, free=True)
    for slot in (2, 0, 3, 1):  # joining one after the other
        driver.attach(slot, prompts[slot], settings[slot])
        driver.prefill(slot)
        for other in driver.slots:
            if other != slot and len(driver.slots[other].ids) < len(prompts[other]) + 8:
                driver.decode(other)
        driver.step()
    for _ in range(7):
        for slot, held in driver.slots.items():
            if len(held.ids) < len(prompts[slot]) + 8:
                driver.decode(slot)
        driver.step()
    assert {slot: driver.slots[slot].ids[len(prompts[slot]) :] for slot in settings} == alone
    assert alone[0] != alone[1]


def test_a_preempted_request_draws_and_penalises_as_before(driver: Driver) -> None:
    ids = prompt_of(1, 7)
    sampling = with_settings(
        temperature=1.0, seed=3, frequency=1.0, repetition=1.1, min_tokens=6, end_ids=pack_u32([5])
    )
    driver.attach(0, ids, sampling)
    whole = driver.generate(0, 9)
    driver.detach(0)
    driver.attach(5, ids + whole[:5], sampling, prompt_len=len(ids))
    assert driver.generate(5, 4) == whole[5:]


def test_a_failed_step_leaves_the_state_sound(
    backend: TorchBackend, driver: Driver, whole: WholePass, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, other = prompt_of(1, 8), prompt_of(2, 6)
    driver.attach(0, ids)
    driver.attach(1, other)
    driver.prefill(0)
    driver.prefill(1)
    driver.step()

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(backend.model, "forward", exhausted)
        patch.setattr(backend, "graphs", None)
        driver.decode(0)
        with pytest.raises(StepError, match="ran out of memory"):
            driver.launch()
    driver.decode(0)  # the router had sent this plan already
    driver.decode(1)
    driver.step()
    driver.detach(0, free=True)
    driver.attach(0, ids)
    driver.decode(1)
    assert driver.generate(0, 4) == whole.greedy(ids, 4)
    assert driver.slots[1].ids == other + whole.greedy(other, 3)


class TritonError(Exception):
    """The base of Triton's errors, by its name: Triton is not installed everywhere."""


class CompilationError(TritonError):
    pass


def test_a_kernel_that_does_not_compile_fails_its_step_alone(
    backend: TorchBackend, driver: Driver, whole: WholePass, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = prompt_of(1, 8)
    driver.attach(0, ids)
    driver.attach(1, prompt_of(2, 6))
    driver.prefill(0)

    def uncompiled(*_: object) -> None:
        raise CompilationError("at 3:4:\ncannot add a pointer and a pointer")

    with monkeypatch.context() as patch:
        patch.setattr(backend.model, "forward", uncompiled)
        patch.setattr(backend, "graphs", None)
        with pytest.raises(StepError, match=r"does not compile.*cannot add a pointer"):
            driver.launch()
    driver.detach(0, free=True)
    driver.attach(0, ids)
    assert driver.generate(0, 4) == whole.greedy(ids, 4)


def test_another_error_is_not_hidden(backend: TorchBackend, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(backend.model, "forward", broken)
    monkeypatch.setattr(backend, "graphs", None)  # they have no use for the model's Python
    driver.attach(0, prompt_of(1, 8))
    driver.prefill(0)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        driver.launch()


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
