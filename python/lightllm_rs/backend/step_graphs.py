"""All captured steps of a backend: which there are, when they are captured, which of them runs a step."""

from __future__ import annotations

import gc
import logging
import time
from collections import deque

import torch

from lightllm_rs.backend.capture import Capture
from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.graphs import DecodeGraphs
from lightllm_rs.backend.mixed_graphs import MixedGraphs
from lightllm_rs.backend.span_features import SpanFeatures
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.backend.transfer import Staging
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM

logger = logging.getLogger(__name__)

START_SECONDS = 2.0
"""A start does not take longer over captured steps, once all sizes of decode batches are there."""


EAGER_ROWS = 16
"""Steps without a graph have any number of decode rows; from this one on they run the kernels of captured sizes."""


def rehearsed_sizes(captured: list[int]) -> list[int]:
    """Numbers of decode rows that have all kernels compiled at the start."""
    return sorted({*captured, *range(1, min(EAGER_ROWS, captured[-1]))})


def rehearsed_pairs(captured: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sizes of steps that prefill that have all kernels compiled at the start: every number of decode rows with the
    fewest tokens, and the numbers of tokens that go with the fewest rows, as no kernel depends on both."""
    rows = min((rows for rows, _ in captured), default=0)
    tokens = min((tokens for _, tokens in captured), default=0)
    return [pair for pair in captured if pair[0] == rows or pair[1] == tokens]


class StepGraphs:
    """Decode steps of all sizes, and small steps that prefill."""

    def __init__(
        self, model: CausalLM, kv: KvCache, state: DeviceState, staging: Staging, images: SpanFeatures | None
    ) -> None:
        self.decode = DecodeGraphs(model, kv, state, staging)
        self.mixed = MixedGraphs(model, kv, state, staging, images)
        self._capture = Capture()
        self._later: deque[int | tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self.decode.sizes) + len(self.mixed.sizes)

    def rehearse(self) -> None:
        """Launches all kernels that captures and steps without a graph need. Before there are pages for it: only while
        kernels are built."""
        for size in rehearsed_sizes(self.decode.sizes):
            self.decode.rehearse(size)
        for pair in rehearsed_pairs(self.mixed.sizes):
            self.mixed.rehearse(pair)

    def start(self, everything: bool) -> str:
        """Captures what a start waits for, or everything. Says how much it was."""
        # Capturing makes garbage; what is there now stays.
        gc.collect()
        gc.freeze()
        began = time.perf_counter()
        # The largest first, so that the others fit into its memory.
        self._later.extend((*reversed(self.decode.sizes), *reversed(self.mixed.sizes)))
        needed = 0 if everything else len(self.mixed.sizes)
        while len(self._later) > needed or (self._later and time.perf_counter() - began < START_SECONDS):
            self._capture_next()
        rest = f", {len(self._later)} more while idle" if self._later else ""
        return f"{len(self) - len(self._later)} kinds of steps{rest}"

    def idle(self) -> bool:
        """Captures one more kind of step, some tens of milliseconds; False if nothing is left to do."""
        if not self._later:
            return False
        try:
            self._capture_next()
        except torch.OutOfMemoryError:
            logger.warning("no memory is left to capture %d kinds of steps: they stay slower", len(self._later) + 1)
            self._later.clear()
        return True

    def find(self, rows: StepRows) -> DecodeGraphs | MixedGraphs | None:
        """The graphs that have room for the step."""
        if self.decode.fits(rows):
            return self.decode
        return self.mixed if self.mixed.fits(rows) else None

    def _capture_next(self) -> None:
        size = self._later.popleft()
        if isinstance(size, int):
            self.decode.rehearse(size)
            self.decode.capture(size, self._capture)
        else:
            self.mixed.rehearse(size)
            self.mixed.capture(size, self._capture)
        torch.cuda.synchronize()
