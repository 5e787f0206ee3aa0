"""The phases of a start, timed."""

from __future__ import annotations

import time

from lightllm_rs.backend.base import PhaseReporter


class StartClock:
    """Reports phases, each from the end of the one before."""

    def __init__(self, phase: PhaseReporter) -> None:
        self._phase, self._began = phase, time.perf_counter()

    def done(self, name: str, detail: str = "") -> None:
        """A phase has ended."""
        now = time.perf_counter()
        self._phase(name, now - self._began, detail)
        self._began = now
