"""The main loop of a rank: plans in, results out."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightllm_rs.backend.base import LaunchedStep, ModelBackend
from lightllm_rs.backend.errors import PlanError, StepError
from lightllm_rs.backend.host import sleep_exactly
from lightllm_rs.backend.plan import read_plan
from lightllm_rs.backend.pulse import Progress
from lightllm_rs.messages.control import CacheUp, Stop, SupervisorMessage
from lightllm_rs.messages.frames import PROTOCOL, BadFrame, encode
from lightllm_rs.messages.sockets import Dealer, Poller
from lightllm_rs.messages.steps import PlanMessage, RankHello, RankStop, StepFailed, StepPlan, plan_decoder
from lightllm_rs.process.child import decode as decode_control

if TYPE_CHECKING:
    from lightllm_rs.backend.trace import StepTrace  # imports torch

logger = logging.getLogger(__name__)

DEPTH = 2
"""Most plans that are launched and unanswered: one runs and one waits."""

NAP = 20e-6
"""Seconds between two looks at the sockets and the device while a step runs: far below a step's length, and cheap."""

LONG = 2e-3
"""A step that takes at least so much longer is waited for in the poller, whose unit is the millisecond."""


@dataclass
class Launched:
    """A step under way."""

    step: int
    began: float
    work: LaunchedStep


class Rank:
    """Drives one backend by the plans of the router.

    Args:
        backend: its model is loaded.
        plans: socket to the router.
        control: socket to the supervisor.
        rank, world: of the tensor-parallel group; rank 0 answers.
        progress: what the telemetry thread tells.
        trace: records some of the steps.
    """

    def __init__(
        self,
        backend: ModelBackend,
        plans: Dealer,
        control: Dealer,
        rank: int,
        world: int,
        progress: Progress,
        trace: StepTrace | None = None,
    ) -> None:
        self._backend, self._plans, self._control = backend, plans, control
        self._rank, self._world, self._progress, self._trace = rank, world, progress, trace
        self._launched: deque[Launched] = deque()
        self._next_step: int | None = None  # the first plan says where the router begins to count
        self._free_at = 0.0
        self._poller = Poller()
        self._poller.add(plans)
        self._poller.add(control)

    def hello(self) -> None:
        """Tells the router what there is room for."""
        room = self._backend.capacity
        size = (room.pages, room.page_size, room.slots, room.vocab, room.context)
        hello = RankHello(PROTOCOL, self._rank, self._world, *size, images=self._backend.takes_images)
        self._plans.send(encode(hello))

    def run(self) -> None:
        """Works until the router or the supervisor says stop. Raises PlanError and whatever the device breaks with."""
        sleep_exactly()
        while True:
            self._answer_finished()
            message = self._next_plan()
            if isinstance(message, StepPlan):
                self._launch(message)
            elif isinstance(message, RankStop):
                return
            if self._control_says_stop():
                return

    def _answer_finished(self) -> None:
        while self._launched and (len(self._launched) >= DEPTH or self._launched[0].work.remaining() <= 0):
            self._answer(self._launched.popleft())

    def _next_plan(self) -> PlanMessage | None:
        """The router's next message; None when the supervisor says something or it is time to look at the device."""
        frame = self._plans.receive(0)
        if frame is None:
            left = self._launched[0].work.remaining() if self._launched else None
            if left is None and self._backend.idle():
                left = 0.0
            if left is None or left > LONG:
                self._poller.wait(None if left is None else int((left - LONG / 2) * 1e3))
            elif left > 0:
                time.sleep(min(left, NAP))
            frame = self._plans.receive(0)
        if frame is None:
            return None
        try:
            return plan_decoder.decode(frame)
        except BadFrame as error:
            logger.warning("a frame from the router was dropped: %s", error)
            self._progress.bad_frames += 1
            return None

    def _control_says_stop(self) -> bool:
        while (frame := self._control.receive(0)) is not None:
            message: SupervisorMessage | None = decode_control(frame)
            if isinstance(message, Stop):
                return True
            if isinstance(message, CacheUp):
                self._backend.image_cache_up(message.endpoint)
        return False

    def _launch(self, message: StepPlan) -> None:
        if self._next_step not in (None, message.step):
            raise PlanError(f"step {message.step} came where step {self._next_step} was due")
        self._next_step = message.step + 1
        if self._trace is not None:
            self._trace.before_launch()
        began = time.perf_counter()
        plan = read_plan(message, self._backend.capacity)
        try:
            work = self._backend.launch(plan)
        except StepError as error:
            while self._launched:  # answers go in the order of the steps
                self._answer(self._launched.popleft())
            self._fail(message.step, error)
            return
        self._launched.append(Launched(message.step, began, work))

    def _answer(self, launched: Launched) -> None:
        try:
            outcome = launched.work.outcome()
        except StepError as error:
            self._fail(launched.step, error)
            return
        now = time.perf_counter()
        busy = now - max(launched.began, self._free_at)
        self._free_at = now
        self._progress.steps += 1
        if self._rank == 0:
            self._plans.send(encode(outcome.message(launched.step, int(busy * 1e6))))

    def _fail(self, step: int, error: StepError) -> None:
        """Gives a step up. Alone in its group only: the other ranks may already wait for this one in a collective."""
        if self._world > 1:
            raise error
        logger.error("step %d failed: %s", step, error)
        self._progress.steps += 1
        self._plans.send(encode(StepFailed(step, self._rank, str(error))))
