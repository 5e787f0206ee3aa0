"""Processes that always come back: when each of the dead ones is tried again."""

from __future__ import annotations

import math
from collections import defaultdict

from lightllm_rs.process.start import ChildStart
from lightllm_rs.supervisor.restarts import BackOff


class Comebacks:
    """Times are those of any one clock that never goes back."""

    def __init__(self) -> None:
        self._histories: dict[str, BackOff] = defaultdict(BackOff)
        self._tries: dict[str, float] = {}  # time of the next or the present try, of those that are not ready
        self._planned: dict[str, ChildStart] = {}

    def died(self, start: ChildStart, served_seconds: float, now: float) -> float:
        """Plans the next try, with `start`. Returns the seconds until then."""
        pause = self._histories[start.process].pause(served_seconds)
        self._tries[start.process] = now + pause
        self._planned[start.process] = start
        return pause

    def ready(self, process: str) -> None:
        """A process serves."""
        self._tries.pop(process, None)

    def due(self) -> float:
        """Time of the next start; infinite if there is none."""
        return min((self._tries[process] for process in self._planned), default=math.inf)

    def take_due(self, now: float) -> list[ChildStart]:
        """What is to be started now."""
        due = [process for process in self._planned if self._tries[process] <= now]
        return [self._planned.pop(process) for process in due]

    def next_try(self, process: str) -> float | None:
        """Time of the next try of a process that has died again and again, which may have begun; None if it is ready,
        or died for the first time in a while: then it will be back in a moment."""
        return self._tries.get(process) if self._histories[process].failures > 1 else None
