"""How a layer says which checkpoint tensors it wants, and how those get into its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Weight:
    """A tensor of the checkpoint: Hugging Face name, whole shape, and `store`, which copies this rank's part.

    dtype: of the tensor in the checkpoint, where it matters; None: any of 16 bits or more.
    """

    name: str
    shape: tuple[int, ...]
    store: Callable[[Tensor], None]
    dtype: torch.dtype | None = None


class Layer(nn.Module):
    """A module that owns weights. Parents need not know: the model walks its modules and asks each `Layer`."""

    def weights(self) -> Iterator[Weight]:
        """The tensors that this layer itself wants (not those of its children)."""
        raise NotImplementedError

    def finish(self) -> None:
        """Called once, after all weights are stored: the place to repack them."""


def part_of(target: Tensor, part: slice | tuple[slice, slice]) -> Callable[[Tensor], None]:
    """A `store` that copies `part` of the checkpoint's tensor into `target`, converting dtype and device."""

    def store(source: Tensor) -> None:
        target.copy_(source[part])

    return store
