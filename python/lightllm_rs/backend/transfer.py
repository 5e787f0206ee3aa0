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


class Staging:
    """Where the transfers of a GPU's steps go: pinned memory in turns, and one fixed place on the device.

    What a step sends overwrites what the step before sent, in the order of the stream; so captured graphs may read
    their input where it arrives.

    Args:
        words: int64 words of the largest transfer.
    """

    TURNS = 4
    """Transfers after which pinned memory is used again; by then it has mostly long been read."""

    def __init__(self, words: int, device: torch.device) -> None:
        self.device_words = torch.zeros(words, dtype=torch.int64, device=device)
        self._pinned = [torch.empty(words, dtype=torch.int64, pin_memory=True) for _ in range(self.TURNS)]
        self._arrays = [pinned.numpy() for pinned in self._pinned]
        self._read = [torch.cuda.Event() for _ in range(self.TURNS)]  # type: ignore[no-untyped-call]
        self._turn = 0

    def next_array(self) -> Array:
        """int64 [words] of the host, to be filled and sent."""
        self._turn = (self._turn + 1) % self.TURNS
        self._read[self._turn].synchronize()
        return self._arrays[self._turn]

    def send(self, words: int) -> Tensor:
        """Starts the copy of the first so many words of the array; int64 [words] on the device."""
        target = self.device_words[:words]
        target.copy_(self._pinned[self._turn][:words], non_blocking=True)
        self._read[self._turn].record()
        return target


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

    def send(self, device: torch.device, staging: Staging | None = None) -> None:
        """Moves all arrays, one after the other; to the fixed place of `staging`, if there is one and it has room."""
        sizes = [array.size for array in self._arrays.values()]
        room = [rounded(size) for size in sizes]
        words = sum(room)
        if staging is not None and words > staging.device_words.shape[0]:
            staging = None
        joined = np.zeros(words, dtype=np.int64) if staging is None else staging.next_array()
        start = 0
        for array, size in zip(self._arrays.values(), room, strict=True):
            joined[start : start + array.size] = array
            start += size
        parts = torch.split(to_device(joined, device) if staging is None else staging.send(words), room)
        self._tensors = {name: part[:size] for name, part, size in zip(self._arrays, parts, sizes, strict=True)}

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]


def rounded(words: int) -> int:
    """Words that an array takes in a transfer."""
    return words + words % 2


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
