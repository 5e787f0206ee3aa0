"""RMS norm in Triton.

s = x + residual;  y_i = s_i / sqrt(mean(s^2) + eps) * w_i. One program a row, the row in registers.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_floats, require
from ..dependent_launch import dependent_launch, start_next, wait_previous


@triton.jit
def rms_norm_kernel(
    x_ptr,
    residual_ptr,
    weight_ptr,
    y_ptr,
    sum_ptr,
    size,
    eps,
    HAS_RESIDUAL: tl.constexpr,
    BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * size
    column = tl.arange(0, BLOCK)
    mask = column < size
    start_next(PDL)
    weight = tl.load(weight_ptr + column, mask=mask, other=0.0).to(tl.float32)
    wait_previous(PDL)
    x = tl.load(x_ptr + row + column, mask=mask, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        x += tl.load(residual_ptr + row + column, mask=mask, other=0.0).to(tl.float32)
        rounded = x.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + row + column, rounded, mask=mask)
        x = rounded.to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / size + eps)
    tl.store(y_ptr + row + column, (x * scale * weight).to(y_ptr.dtype.element_ty), mask=mask)


def rms_norm_triton(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """See `rms_norm`. x and residual: contiguous [T, hidden], hidden at most 65,536."""
    require(x.dim() == 2 and weight.shape == x.shape[1:], f"norm of {list(x.shape)} by a weight {list(weight.shape)}")
    require(x.shape[1] <= 65536, f"a row of {x.shape[1]} does not fit one program")
    check_floats(x=x, weight=weight)
    y = torch.empty_like(x)
    total = x
    if residual is not None:
        require(residual.shape == x.shape, f"residual {list(residual.shape)} for x {list(x.shape)}")
        check_floats(x=x, residual=residual)
        total = torch.empty_like(x)
    rows, size = x.shape
    if rows:
        block = triton.next_power_of_2(size)
        rms_norm_kernel[(rows,)](
            x,
            x if residual is None else residual,
            weight,
            y,
            total,
            size,
            eps,
            HAS_RESIDUAL=residual is not None,
            BLOCK=block,
            num_warps=min(16, max(1, block // 256)),
            **dependent_launch(x),
        )
    return y, total
