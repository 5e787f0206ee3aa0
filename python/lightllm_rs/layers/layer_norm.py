"""Layer norm as a layer, for vision towers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .weights import Layer, Weight, part_of


class LayerNorm(Layer):
    """[..., size] -> the same shape: (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension."""

    def __init__(self, name: str, size: int, eps: float, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.name, self.eps = name, eps
        self.weight = torch.empty(size, dtype=dtype, device=device)
        self.bias = torch.empty(size, dtype=dtype, device=device)

    def weights(self) -> Iterator[Weight]:
        shape = tuple(self.weight.shape)
        yield Weight(f"{self.name}.weight", shape, part_of(self.weight, slice(None)))
        yield Weight(f"{self.name}.bias", shape, part_of(self.bias, slice(None)))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
