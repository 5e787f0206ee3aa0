"""RMS norm and quantisation in plain torch; also the CPU path."""

from __future__ import annotations

from torch import Tensor

from ..fp8 import Fp8Rows
from ..quantize_fp8.reference import quantize_fp8_reference
from ..rms_norm.reference import rms_norm_reference


def rms_norm_fp8_reference(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
) -> tuple[Fp8Rows, Tensor]:
    """See `rms_norm_fp8`."""
    total = x if residual is None else x + residual
    y, _ = rms_norm_reference(total.float(), weight.float(), eps)
    return quantize_fp8_reference(y), total
