"""RMS norm as a layer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..kernels.all_reduce_norm import all_reduce_norm
from ..kernels.fp8 import Fp8Rows
from ..kernels.rms_norm import rms_norm
from ..kernels.rms_norm_fp8 import rms_norm_fp8
from .parallel import TensorParallel
from .weights import Layer, Weight, part_of


class RmsNorm(Layer):
    """See `kernels.rms_norm`. The weight is the same on every rank.

    What comes in is each rank's part of the sum that is normalised, so this is where ranks exchange their numbers; the
    residual is whole.

    turn: see `kernels.all_reduce_norm`; the norms of a model that run one after the other have different ones, the last
    and the first too.
    """

    def __init__(
        self,
        name: str,
        size: int,
        eps: float,
        dtype: torch.dtype,
        device: torch.device,
        tp: TensorParallel,
        turn: int,
    ) -> None:
        super().__init__()
        self.name, self.eps, self.tp, self.turn = name, eps, tp, turn
        self.weight = torch.empty(size, dtype=dtype, device=device)

    def weights(self) -> Iterator[Weight]:
        yield Weight(f"{self.name}.weight", tuple(self.weight.shape), part_of(self.weight, slice(None)))

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(norm(x + residual), x + residual), [T, size] each, x summed over the ranks. May change x."""
        peers = self.tp.peers
        if peers is not None and x.shape[0] <= peers.mailbox.rows:
            return all_reduce_norm(x, self.weight, self.eps, residual, peers.mailbox, self.turn)
        return rms_norm(self.tp.all_reduce(x), self.weight, self.eps, residual)

    def rounded(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor | Fp8Rows, Tensor]:
        """`forward`, for a product of 8-bit floats: rounded to those, but not where ranks exchange few rows."""
        peers = self.tp.peers
        if peers is not None and x.shape[0] <= peers.mailbox.rows:
            exchanged: tuple[Tensor, Tensor] = self(x, residual)
            return exchanged
        return rms_norm_fp8(self.tp.all_reduce(x), self.weight, self.eps, residual)
