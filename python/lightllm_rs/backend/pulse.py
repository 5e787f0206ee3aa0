"""A small thread that tells the health and the metric server once a second how the rank is."""

from __future__ import annotations

import threading
from types import TracebackType

from lightllm_rs.process.start import ChildStart
from lightllm_rs.process.telemetry import Telemetry

PERIOD = 1.0


class Progress:
    """What the main loop leaves for the telemetry thread; each number has one writer and only grows."""

    def __init__(self) -> None:
        self.steps = 0
        self.bad_frames = 0


class Pulse:
    """The thread; a context manager. It has sockets of its own."""

    def __init__(self, start: ChildStart, progress: Progress, period: float = PERIOD) -> None:
        self._start, self._progress, self._period = start, progress, period
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        telemetry = Telemetry(self._start)
        told = 0
        while True:
            bad_frames = self._progress.bad_frames
            if bad_frames > told:
                telemetry.add("lightllm_bad_frames_total", bad_frames - told, (self._start.process,))
                told = bad_frames
            telemetry.heartbeat(progress=self._progress.steps)
            telemetry.flush()
            if self._ended.wait(self._period):
                break
        telemetry.close()
