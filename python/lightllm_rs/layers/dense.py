"""A linear layer that no rank shares: of vision towers and projectors."""

from __future__ import annotations

import torch

from .linear import ColumnLinear, Columns


class Dense(ColumnLinear):
    """y = x W^T + b, [T, inputs] -> [T, outputs]. `names`: matrices of the checkpoint that are fused, one after the
    other, each of `outputs` rows; y is then [T, outputs * len(names)]."""

    def __init__(
        self, names: str | list[str], outputs: int, inputs: int, bias: bool, dtype: torch.dtype, device: torch.device
    ) -> None:
        parts = [names] if isinstance(names, str) else names
        super().__init__(
            [Columns(name, outputs, slice(0, outputs)) for name in parts], inputs, bias, None, dtype, device
        )
