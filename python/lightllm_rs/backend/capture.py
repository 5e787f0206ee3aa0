"""Capturing CUDA graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch


class Capture:
    """Captures graphs one after the other into one memory pool.

    Unlike `torch.cuda.graph` it does not give torch's unused memory back to the driver each time, which takes longer
    than many a capture.
    """

    def __init__(self) -> None:
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @contextmanager
    def __call__(self, graph: torch.cuda.CUDAGraph) -> Iterator[None]:
        """What is launched within goes into the graph; nothing runs."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            graph.capture_begin(self._pool, capture_error_mode="thread_local")
            try:
                yield
            except BaseException:
                with suppress(RuntimeError):  # the capture is broken, and what broke it is told
                    graph.capture_end()
                raise
            graph.capture_end()
        torch.cuda.current_stream().wait_stream(self._stream)
