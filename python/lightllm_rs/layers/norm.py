"""RMS norm as a layer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..kernels.rms_norm import rms_norm
from .weights import Layer, Weight, part_of


class RmsNorm(Layer):
    """See `kernels.rms_norm`. The weight is the same on every rank."""

    def __init__(self, name: str, size: int, eps: float, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.name, self.eps = name, eps
        self.weight = torch.empty(size, dtype=dtype, device=device)

    def weights(self) -> Iterator[Weight]:
        yield Weight(f"{self.name}.weight", tuple(self.weight.shape), part_of(self.weight, slice(None)))

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(norm(x + residual), x + residual), [T, size] each."""
        return rms_norm(x, self.weight, self.eps, residual)
