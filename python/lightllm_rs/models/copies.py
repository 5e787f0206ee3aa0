"""Copies of weights to a GPU, several at a time: one thread alone waits for the disk and the bus by turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

THREADS = 8
"""Copies at a time; as many more tensors may have been read and wait."""


class Copies:
    """A context manager; what `start` was given is done when it ends. On a CPU everything is done at once.

    Args:
        device: where the weights go.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._inference = torch.is_inference_mode_enabled()  # a thread's own too
        self._pool = ThreadPoolExecutor(THREADS, "weights", self._set_up) if device.type == "cuda" else None
        self._room = threading.Semaphore(2 * THREADS)
        self._copies: list[Future[None]] = []

    def _set_up(self) -> None:
        # Both are a thread's own. Copies of one stream would wait for each other.
        torch.set_grad_enabled(False)
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        # What was queued for the new tensors (some are filled with zeros) comes before what they are to hold.
        stream.wait_stream(torch.cuda.default_stream(self._device))
        torch.cuda.set_stream(stream)

    def start(self, store: Callable[[Tensor], None], tensor: Tensor) -> None:
        """Has `store(tensor)` done; waits while too many tensors wait. What it raises is raised at the end."""
        if self._pool is None or tensor.is_cuda:
            store(tensor)
            return
        self._room.acquire()
        self._copies.append(self._pool.submit(self._store, store, tensor))

    def _store(self, store: Callable[[Tensor], None], tensor: Tensor) -> None:
        try:
            with torch.inference_mode(self._inference):
                store(tensor)
            torch.cuda.current_stream().synchronize()
        finally:
            self._room.release()

    def __enter__(self) -> Copies:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for copy in self._copies:
                copy.result()
