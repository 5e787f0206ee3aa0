"""Features of pictures that stay on the device for a while."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

RING_BYTES = 256 << 20
"""27 pictures of 1024 x 1024 in Qwen2.5-VL-7B, for 4,700 tokens of KV cache less. What has been overwritten costs a
copy from shared memory again, less than a millisecond, so more of it would gain little."""


class FeatureRing:
    """The features that were kept last, by key, in one block of memory that is there from the start.

    The oldest are overwritten first, whether they were asked for since or not. Who takes features gets a copy: steps
    compute with them while others are written here. All happens in the stream of the steps, one after the other.

    Tensors of their own would need no copy, but as their sizes differ they would leave holes, a fifth to two thirds of
    the memory again by a simulation of torch's allocator, and the KV cache has taken what the start found free.

    Args:
        room: bytes of the block.
        width: numbers of a row of features.
    """

    def __init__(self, room: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.empty((room // (width * dtype.itemsize), width), dtype=dtype, device=device)
        self._places: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # (first, last) rows, the oldest first
        self._next = 0

    def take(self, key: bytes) -> Tensor | None:
        """A copy, if they are there."""
        place = self._places.get(key)
        return None if place is None else self._rows[slice(*place)].clone()

    def keep(self, key: bytes, features: Tensor) -> None:
        """[tokens, width]. What is larger than all of the block is not kept."""
        tokens, end = features.shape[0], self._rows.shape[0]
        if key in self._places or tokens > end:
            return
        if self._next + tokens > end:
            self._forget(self._next, end)
            self._next = 0
        first, last = self._next, self._next + tokens
        self._forget(first, last)
        self._rows[first:last].copy_(features)
        self._places[key] = first, last
        self._next = last

    def _forget(self, first: int, last: int) -> None:
        """Those with rows from `first` to `last`: from where the next go, the oldest follow each other."""
        while self._places:
            key, (start, end) = next(iter(self._places.items()))
            if start >= last or end <= first:
                return
            del self._places[key]
