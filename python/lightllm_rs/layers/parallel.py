"""Tensor parallelism: which part of each weight a rank holds, and how the parts become whole again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from ..checkpoint import UnsupportedModel

if TYPE_CHECKING:
    from .peer_memory import PeerMemory


@dataclass(frozen=True)
class TensorParallel:
    """Rank `rank` of `world`.

    Attributes:
        group: carries the collectives (gloo on CPU, NCCL on CUDA); None when world is 1.
        peers: carries small sums where the ranks reach each other's memory; None elsewhere.
    """

    rank: int = 0
    world: int = 1
    group: dist.ProcessGroup | None = field(default=None, compare=False)
    peers: PeerMemory | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank {self.rank} is not one of {self.world}")
        if self.world > 1 and self.group is None:
            raise ValueError("more than one rank needs a process group")

    def share(self, size: int, what: str) -> slice:
        """This rank's part of `size` equal things. Raises `UnsupportedModel` naming `what` if they do not divide."""
        if size % self.world:
            raise UnsupportedModel(f"{size} {what} cannot be divided among {self.world} tensor parallel ranks")
        part = size // self.world
        return slice(self.rank * part, (self.rank + 1) * part)

    def kv_share(self, kv_heads: int) -> slice:
        """This rank's kv heads: a part, or the one that its query heads read where there are more ranks than heads.

        Raises `UnsupportedModel` where neither number divides the other.
        """
        if self.world > kv_heads and self.world % kv_heads == 0:
            head = self.rank * kv_heads // self.world
            return slice(head, head + 1)
        return self.share(kv_heads, "key/value heads")

    def all_reduce(self, x: Tensor) -> Tensor:
        """The sum of x over the ranks, in place."""
        if self.world > 1:
            dist.all_reduce(x, group=self.group)
        return x

    def all_gather_last(self, x: Tensor) -> Tensor:
        """[..., n] of each rank -> [..., world * n], in rank order; every rank's x has the same shape."""
        if self.world == 1:
            return x
        parts = torch.empty((self.world, *x.shape), dtype=x.dtype, device=x.device)
        dist.all_gather_into_tensor(parts.view(-1), x.contiguous().view(-1), group=self.group)
        return parts.movedim(0, -2).reshape(*x.shape[:-1], self.world * x.shape[-1])
