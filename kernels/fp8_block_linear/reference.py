"""The product in plain torch: both sides as float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GROUP = 128
"""Inputs that share a scale."""


def dequantised(values: Tensor, scales: Tensor) -> Tensor:
    """float32 [rows, inputs]."""
    return values.float() * scales.repeat_interleave(GROUP, dim=1)


def fp8_block_linear_reference(
    x: Tensor, x_scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """See `fp8_block_linear`."""
    y = F.linear(dequantised(x, x_scale), dequantised(weight, weight_scale), None if bias is None else bias.float())
    return y.to(dtype)
