"""The 8-bit floating point format of quantised weights, activations and caches: e4m3 without infinities."""

from __future__ import annotations

import torch
from torch import Tensor

FP8 = torch.float8_e4m3fn

LARGEST = 448.0
"""Its largest number. Conversions saturate here: the plain cast of torch would make a NaN of anything larger."""


def to_fp8(x: Tensor) -> Tensor:
    """x rounded to the nearest number of the format; NaN stays."""
    return x.float().clamp(-LARGEST, LARGEST).to(FP8)
