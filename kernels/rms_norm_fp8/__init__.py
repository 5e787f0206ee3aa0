"""Root mean square norm, rounded to e4m3 for the product that follows."""

from __future__ import annotations

from torch import Tensor

from ..fp8 import Fp8Rows
from .reference import rms_norm_fp8_reference

__all__ = ["rms_norm_fp8"]


def rms_norm_fp8(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None) -> tuple[Fp8Rows, Tensor]:
    """((values, scales), x + residual): `quantize_fp8` of `rms_norm`, without the norm's own rounding in between.

    values: e4m3 [T, hidden]; scales: float32 [T]; the sum: [T, hidden] in x's dtype, x itself without a residual.
    """
    if x.is_cuda:
        from .kernel import rms_norm_fp8_triton

        return rms_norm_fp8_triton(x, weight, eps, residual)
    return rms_norm_fp8_reference(x, weight, eps, residual)
