"""What the main loop says when a step fails."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from helpers.plan_driver import Driver
from lightllm_rs.backend.base import LaunchedStep
from lightllm_rs.backend.errors import StepError
from lightllm_rs.backend.mock import MockBackend
from lightllm_rs.backend.mock_tokens import mock_text
from lightllm_rs.backend.options import Capacity
from lightllm_rs.backend.plan import Plan
from lightllm_rs.backend.pulse import Progress
from lightllm_rs.backend.rank import Rank
from lightllm_rs.messages.frames import encode, unpack_u32
from lightllm_rs.messages.sockets import Dealer, Hub, endpoint
from lightllm_rs.messages.steps import RankStop, StepFailed, StepResult, rank_decoder

PROMPT = [3, 1, 4, 1, 5]


class FailsOnce(MockBackend):
    """A mock whose step 1 does not work."""

    def launch(self, plan: Plan) -> LaunchedStep:
        launched = super().launch(plan)
        if plan.step == 1:
            raise StepError("no memory")
        return launched


def opened() -> FailsOnce:
    backend = FailsOnce()
    backend.open(Capacity(16, 4, 4, 384, 64))
    return backend


class Ends:
    """Sockets of both sides and the rank's thread."""

    def __init__(self, run_dir: Path, world: int) -> None:
        self.plans, self.control = Hub(endpoint(run_dir, "plans-0")), Hub(endpoint(run_dir, "control"))
        self.dealers = [
            Dealer(endpoint(run_dir, "plans-0"), "rank-0"),
            Dealer(endpoint(run_dir, "control"), "backend-0"),
        ]
        self.rank = Rank(opened(), *self.dealers, 0, world, Progress())

    def close(self) -> None:
        for socket in (self.plans, self.control, *self.dealers):
            socket.close()


def plans(ends: Ends) -> None:
    driver = Driver(opened())
    driver.attach(0, PROMPT)
    driver.prefill(0)
    ends.plans.send(b"rank-0", encode(driver.message()[0]))
    for _ in range(2):
        driver.decode(0)
        ends.plans.send(b"rank-0", encode(driver.message()[0]))
    ends.plans.send(b"rank-0", encode(RankStop()))


def test_one_failed_step_is_told_and_the_rank_lives_on(tmp_path: Path) -> None:
    ends = Ends(tmp_path, world=1)
    ends.rank.hello()
    assert ends.plans.receive(60_000) is not None
    plans(ends)
    ends.rank.run()
    answers = [rank_decoder.decode(received[1]) for _ in range(3) if (received := ends.plans.receive(60_000))]
    assert [(type(answer), answer.step) for answer in answers] == [(StepResult, 0), (StepFailed, 1), (StepResult, 2)]
    assert answers[1].message == "no memory"
    assert unpack_u32(answers[0].tokens).tolist() == mock_text(PROMPT, 1, 384)
    ends.close()


def test_in_a_group_it_ends_the_rank(tmp_path: Path) -> None:
    ends = Ends(tmp_path, world=2)
    ends.rank.hello()
    assert ends.plans.receive(60_000) is not None
    plans(ends)
    with pytest.raises(StepError):
        ends.rank.run()
    ends.close()


class PutsOff(FailsOnce):
    """A mock that has something to do while there are no plans."""

    left = 3

    def launch(self, plan: Plan) -> LaunchedStep:
        return MockBackend.launch(self, plan)

    def idle(self) -> bool:
        self.left -= self.left > 0
        return self.left > 0


def test_what_can_wait_is_done_between_plans(tmp_path: Path) -> None:
    ends = Ends(tmp_path, world=1)
    backend = PutsOff()
    backend.open(Capacity(16, 4, 4, 384, 64))
    ends.rank = Rank(backend, *ends.dealers, 0, 1, Progress())
    ends.rank.hello()
    assert ends.plans.receive(60_000) is not None
    thread = threading.Thread(target=ends.rank.run)
    thread.start()
    while backend.left:
        thread.join(0.01)
        assert thread.is_alive()
    plans(ends)
    thread.join(60)
    assert not thread.is_alive()
    answers = [rank_decoder.decode(received[1]) for _ in range(3) if (received := ends.plans.receive(60_000))]
    assert [type(answer) for answer in answers] == [StepResult] * 3
    ends.close()


def test_the_rank_does_not_spin_while_it_has_nothing_to_do(tmp_path: Path) -> None:
    ends = Ends(tmp_path, world=1)
    thread = threading.Thread(target=ends.rank.run)
    thread.start()
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    time.sleep(0.5)
    used = time.clock_gettime(clock)
    ends.rank.hello()
    assert ends.plans.receive(60_000) is not None
    ends.plans.send(b"rank-0", encode(RankStop()))
    thread.join(60)
    assert not thread.is_alive()
    assert used < 0.25
    ends.close()
