"""Small arrays to and from the device without making the host wait."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.plan import Array


def to_device(array: Array, device: torch.device) -> Tensor:
    """A copy of an array on the device; on a GPU by way of pinned memory, which torch keeps until the copy is done."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class Packed:
    """Many int64 arrays in one transfer.

    `add` them by name, `send` once, then `packed[name]` is the tensor on the device. Each begins at a multiple of 16
    bytes: Triton compiles a kernel anew for a pointer that is aligned otherwise.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._tensors: dict[str, Tensor] = {}

    def add(self, name: str, array: Array) -> None:
        """An integer array [n]."""
        self._arrays[name] = array

    def send(self, device: torch.device) -> None:
        """Moves all arrays."""
        sizes = [array.size for array in self._arrays.values()]
        room = [size + size % 2 for size in sizes]
        joined = np.zeros(sum(room), dtype=np.int64)
        start = 0
        for array, size in zip(self._arrays.values(), room, strict=True):
            joined[start : start + array.size] = array
            start += size
        parts = torch.split(to_device(joined, device), room)
        self._tensors = {name: part[:size] for name, part, size in zip(self._arrays, parts, sizes, strict=True)}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]


class Fetched:
    """Tensors on their way to the host; `wait` gives arrays."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        self._tensors = tensors
        if any(tensor.is_cuda for tensor in tensors.values()):
            self._tensors = {name: _start_copy(tensor) for name, tensor in tensors.items()}
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def ready(self) -> bool:
        """Whether `wait` returns at once."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> dict[str, Array]:
        """All of them, as arrays of the host."""
        if self._event is not None:
            self._event.synchronize()
        return {name: tensor.numpy() for name, tensor in self._tensors.items()}


def _start_copy(tensor: Tensor) -> Tensor:
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return pinned.copy_(tensor, non_blocking=True)
