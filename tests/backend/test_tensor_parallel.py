"""Two ranks as two processes with gloo give what one gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.fake_supervisor import FakeSupervisor
from helpers.plan_driver import GREEDY, Driver, with_settings
from helpers.tiny_models import make_tiny_model
from lightllm_rs.backend.mock import MockBackend
from lightllm_rs.backend.options import Capacity
from lightllm_rs.messages.frames import unpack_u32
from lightllm_rs.messages.steps import RankHello, RankStop, StepResult

PROMPTS = {0: [5, 6, 7, 8, 9, 10, 11], 1: [300, 2, 77], 2: [9] * 20}
SAMPLING = {0: GREEDY, 1: with_settings(temperature=1.0, seed=4, top_p=0.95), 2: with_settings(repetition=1.2)}
COUNT = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), "qwen3", vocab_size=383)


def texts(run_dir: Path, model: Path, ranks: int) -> dict[int, list[int]]:
    """What the requests get from `ranks` processes."""
    run_dir.mkdir()
    with FakeSupervisor(run_dir, model, tp=ranks, kv_cache_tokens=1024, max_num_seqs=4, threads=1) as supervisor:
        for rank in range(ranks):
            supervisor.start_rank(rank)
        supervisor.wait_ready(ranks)
        hellos = dict(supervisor.receive() for _ in range(ranks))
        assert sorted(hellos) == list(range(ranks))
        hello = hellos[0]
        assert isinstance(hello, RankHello)
        assert hello.world == ranks
        assert "weights" in supervisor.phases("backend-0")
        planner = MockBackend()  # only its capacity counts: the driver makes plans for it
        planner.open(Capacity(hello.pages, hello.page_size, hello.slots, hello.vocab, hello.context))
        driver = Driver(planner)
        tokens: dict[int, list[int]] = {slot: [] for slot in PROMPTS}
        for step in range(COUNT):
            for slot, prompt in PROMPTS.items():
                if step == 0:
                    driver.attach(slot, prompt, SAMPLING[slot])
                    driver.prefill(slot)
                else:
                    driver.decode(slot)
            plan = driver.message()[0]
            for rank in range(ranks):
                supervisor.send(rank, plan)
            rank, result = supervisor.receive()
            assert rank == 0
            assert isinstance(result, StepResult)
            for row, token in zip(unpack_u32(result.rows), unpack_u32(result.tokens), strict=True):
                tokens[int(row)].append(int(token))
        for rank in range(ranks):
            supervisor.send(rank, RankStop())
        assert [child.wait(60) for child in supervisor.children] == [0] * ranks
        assert supervisor.plans.receive(0) is None, "rank 0 alone answers"
    return tokens


def test_two_ranks_give_what_one_gives(tmp_path: Path, model: Path) -> None:
    alone = texts(tmp_path / "1", model, 1)
    assert all(len(tokens) == COUNT for tokens in alone.values())
    assert texts(tmp_path / "2", model, 2) == alone
