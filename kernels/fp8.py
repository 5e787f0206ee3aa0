"""The 8-bit floating point format of quantised weights, activations and caches: e4m3 without infinities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FP8 = torch.float8_e4m3fn

LARGEST = 448.0
"""Its largest number. Conversions saturate here: the plain cast of torch would make a NaN of anything larger."""


class Fp8Rows(NamedTuple):
    """Activations of T tokens: e4m3 [T, size] and float32 scales, [T] or [T, groups]; they stand for the products."""

    values: Tensor
    scales: Tensor

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        """[T, size] in `dtype`."""
        scales = self.scales[:, None] if self.scales.dim() == 1 else self.scales
        rows, groups = scales.shape
        grouped = self.values.float().view(rows, groups, self.values.shape[1] // groups)
        return (grouped * scales[:, :, None]).view(self.values.shape).to(dtype)


def to_fp8(x: Tensor) -> Tensor:
    """x rounded to the nearest number of the format; NaN stays."""
    return x.float().clamp(-LARGEST, LARGEST).to(FP8)
