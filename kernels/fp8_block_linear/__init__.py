"""A linear layer of 8-bit floats with a scale for every 128 inputs, as DeepSeek's and Qwen's checkpoints have them."""

from __future__ import annotations

import torch
from torch import Tensor

from .reference import GROUP, fp8_block_linear_reference

__all__ = ["GROUP", "fp8_block_linear"]


def fp8_block_linear(
    x: Tensor, x_scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """y[t, n] = sum over groups g of x_scale[t, g] * weight_scale[n, g] * (x[t] . weight[n] in g) + bias[n].

    x: e4m3 [T, inputs]; x_scale: float32 [T, inputs / 128]; see `quantize_fp8`.
    weight: e4m3 [outputs, inputs]; weight_scale: float32 [outputs, inputs / 128]. bias: [outputs] in `dtype`, or None.
    Returns [T, outputs] in `dtype`; sums are float32.
    """
    if x.is_cuda:
        from .kernel import fp8_block_linear_triton

        return fp8_block_linear_triton(x, x_scale, weight, weight_scale, bias, dtype)
    return fp8_block_linear_reference(x, x_scale, weight, weight_scale, bias, dtype)
