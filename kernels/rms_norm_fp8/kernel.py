"""RMS norm and quantisation in Triton.

s = x + residual;  y_i = s_i / sqrt(mean(s^2) + eps) * w_i;  scale = max|y| / 448;  the values are y / scale.
One program a row, the row in registers.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_floats, require
from ..fp8 import FP8, LARGEST, Fp8Rows
from ..quantize_fp8.kernel import round_row
from ..quantize_fp8.reference import SMALLEST_SCALE


@triton.jit
def rms_norm_fp8_kernel(
    x_ptr,
    residual_ptr,
    weight_ptr,
    y_ptr,
    scale_ptr,
    sum_ptr,
    size,
    eps,
    HAS_RESIDUAL: tl.constexpr,
    BLOCK: tl.constexpr,
    LARGEST: tl.constexpr,
    SMALLEST_SCALE: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < size
    at = row * size + column
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        x += tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
        rounded = x.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + at, rounded, mask=mask)
        x = rounded.to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=mask, other=0.0).to(tl.float32)
    y = x * tl.rsqrt(tl.sum(x * x, axis=0) / size + eps) * weight
    values, scale = round_row(y, LARGEST, SMALLEST_SCALE)
    tl.store(y_ptr + at, values.to(y_ptr.dtype.element_ty), mask=mask)
    tl.store(scale_ptr + row, scale)


def rms_norm_fp8_triton(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
) -> tuple[Fp8Rows, Tensor]:
    """See `rms_norm_fp8`. x and residual: contiguous [T, hidden], hidden at most 65,536."""
    require(x.dim() == 2 and weight.shape == x.shape[1:], f"norm of {list(x.shape)} by a weight {list(weight.shape)}")
    require(x.shape[1] <= 65536, f"a row of {x.shape[1]} does not fit one program")
    check_floats(x=x, weight=weight)
    total = x
    if residual is not None:
        require(residual.shape == x.shape, f"residual {list(residual.shape)} for x {list(x.shape)}")
        check_floats(x=x, residual=residual)
        total = torch.empty_like(x)
    rows, size = x.shape
    values = torch.empty((rows, size), dtype=FP8, device=x.device)
    scales = torch.empty(rows, dtype=torch.float32, device=x.device)
    if rows:
        block = triton.next_power_of_2(size)
        rms_norm_fp8_kernel[(rows,)](
            x,
            x if residual is None else residual,
            weight,
            values,
            scales,
            total,
            size,
            eps,
            HAS_RESIDUAL=residual is not None,
            BLOCK=block,
            LARGEST=LARGEST,
            SMALLEST_SCALE=SMALLEST_SCALE,
            num_warps=min(16, max(1, block // 512)),
        )
    return Fp8Rows(values, scales), total
