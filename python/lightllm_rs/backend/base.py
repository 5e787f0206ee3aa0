"""The base of all backends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.plan import Array, Plan
from lightllm_rs.backend.slots import SlotTable
from lightllm_rs.messages.frames import pack_u32
from lightllm_rs.messages.steps import RowExtra, StepResult

PhaseReporter = Callable[[str, float, str], None]
"""Takes a phase of the start that is done: name, seconds, one line of detail."""


@dataclass
class Outcome:
    """What a step gave.

    Attributes:
        rows: int64 [n]; indices in the plan of the rows that emitted.
        tokens: int64 [n]; one token for each of them.
        extras: rows with log-probabilities or an error; a failed row is here and not in `rows`.
    """

    rows: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    tokens: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    extras: list[RowExtra] = field(default_factory=list)

    def message(self, step: int, busy_us: int) -> StepResult:
        """The outcome as it travels."""
        counts = pack_u32(np.ones(self.rows.size, dtype=np.uint32))
        return StepResult(step, pack_u32(self.rows), counts, pack_u32(self.tokens), self.extras, busy_us)


class LaunchedStep(ABC):
    """A step that may still run."""

    @abstractmethod
    def remaining(self) -> float:
        """Seconds until it is worth asking again; 0 once `outcome` returns at once."""

    @abstractmethod
    def outcome(self) -> Outcome:
        """Waits for the end. Called once. Raises StepError."""


class FinishedStep(LaunchedStep):
    """A step that ended while it was launched."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def remaining(self) -> float:
        return 0.0

    def outcome(self) -> Outcome:
        return self._outcome


class JoinedStep(LaunchedStep):
    """Two halves of one step."""

    def __init__(self, first: LaunchedStep, second: LaunchedStep) -> None:
        self._first, self._second = first, second

    def remaining(self) -> float:
        return max(self._first.remaining(), self._second.remaining())

    def outcome(self) -> Outcome:
        first, second = self._first.outcome(), self._second.outcome()
        return Outcome(
            np.concatenate([first.rows, second.rows]),
            np.concatenate([first.tokens, second.tokens]),
            first.extras + second.extras,
        )


class ModelBackend(ABC):
    """One rank's model, KV cache and slots.

    Plans are launched in order, each as soon as it is known; the state that a launch leaves behind is the one the next
    plan builds on, whether or not the device is done. Outcomes are asked for in the same order.

    Attributes:
        capacity: what there is room for; set by `init_model`.
        slots: the host's side of the slots; set by `init_model`.
        takes_images: requests may have images in their prompts; a backend of a model that sees sets it in `init_model`.
        before_measuring: called by `init_model` before it looks how much memory of a GPU is free; returns how much of
            what is in use then is of visual servers, and how much has to stay free for others of them, in bytes.
    """

    capacity: Capacity
    slots: SlotTable
    takes_images: bool = False
    before_measuring: Callable[[], tuple[int, int]] = staticmethod(lambda: (0, 0))

    @abstractmethod
    def init_model(self, options: BackendOptions, phase: PhaseReporter) -> Capacity:
        """Reads the model, makes room for the KV cache and is ready for plans. Raises BackendError."""

    @abstractmethod
    def apply_changes(self, plan: Plan) -> None:
        """Carries out detach, attach and copies; `self.slots` has taken the plan in. Raises StepError."""

    @abstractmethod
    def decode_batch(self, plan: Plan, rows: Array) -> LaunchedStep:
        """Runs rows whose input is their slot's last token.

        Args:
            plan: `self.slots` and the changes of this plan are applied.
            rows: int64 [n]; indices in the plan. All are `from_last`.

        Raises StepError when the step failed and the state is still sound; anything else ends the process.
        """

    @abstractmethod
    def prefill_batch(self, plan: Plan, rows: Array) -> LaunchedStep:
        """Runs rows whose input ids are in the plan; otherwise as `decode_batch`."""

    def mixed_batch(self, plan: Plan, decode: Array, prefill: Array) -> LaunchedStep:
        """Runs both kinds in one step. A backend that can do it in one forward pass overrides this."""
        return JoinedStep(self.decode_batch(plan, decode), self.prefill_batch(plan, prefill))

    def launch(self, plan: Plan) -> LaunchedStep:
        """Carries out a plan. Raises PlanError (the state is broken) and StepError (this step failed)."""
        # The host's table moves on even if the step fails: the next plan may already be under way.
        self.slots.apply(plan)
        self.apply_changes(plan)
        if plan.decode.size and plan.prefill.size:
            return self.mixed_batch(plan, plan.decode, plan.prefill)
        if plan.decode.size:
            return self.decode_batch(plan, plan.decode)
        if plan.prefill.size:
            return self.prefill_batch(plan, plan.prefill)
        return FinishedStep(Outcome())

    def idle(self) -> bool:
        """Does a little of what can wait until there are no plans; False when nothing is left of it."""
        return False

    def image_cache_up(self, endpoint: str) -> None:  # noqa: B027 - a model of text needs none
        """A cache manager is ready, perhaps in the place of one that died: features of pictures are there from now."""

    def close(self) -> None:  # noqa: B027 - most backends have nothing to close
        """Leaves the process group, where there is one."""
