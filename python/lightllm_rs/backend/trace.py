"""What a device does in some steps, recorded by torch's profiler as a Chrome trace."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

logger = logging.getLogger(__name__)


class Recording:
    """A recording under way. On a GPU only its own work is recorded: kernels, copies, and the calls that launch them.

    Operators of torch are left out there, since their recording slows the CPU down and makes gaps on the GPU.

    Args:
        device: "cuda" or "cpu".
    """

    def __init__(self, device: str) -> None:
        activity = ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU
        self._device = device
        self._profile = profile(activities=[activity], acc_events=True)  # or torch warns of further recordings
        self._profile.start()

    def save(self, path: Path) -> None:
        """Waits for the device, ends the recording and writes it. Raises OSError if `path` cannot be written."""
        if self._device == "cuda":
            torch.cuda.synchronize()
        self._profile.stop()
        path.touch()  # the profiler itself only logs that it could not write
        self._profile.export_chrome_trace(str(path))


class StepTrace:
    """Records the steps `first` to `last` (excluded) of a serving rank, counted from 0, once in its life.

    The rank stands still while the file is written: some seconds for some hundred steps.

    Args:
        path: file to write.
        device: "cuda" or "cpu".
    """

    def __init__(self, path: Path, first: int, last: int, device: str) -> None:
        self._path, self._first, self._last, self._device = path, first, last, device
        self._recording: Recording | None = None
        self._steps = 0

    def before_launch(self) -> None:
        """To be called before each step is launched."""
        if self._steps == self._first:
            self._recording = Recording(self._device)
            logger.info("recording steps %d to %d", self._first, self._last)
        elif self._steps == self._last:
            self.close()
        self._steps += 1

    def close(self) -> None:
        """Writes what there is of a recording under way."""
        if self._recording is None:
            return
        began = time.perf_counter()
        recording, self._recording = self._recording, None
        try:
            recording.save(self._path)
        except OSError as error:  # the service does not end for that
            logger.error("the trace could not be written: %s", error)
            return
        logger.info("wrote %s in %.1f s", self._path, time.perf_counter() - began)
