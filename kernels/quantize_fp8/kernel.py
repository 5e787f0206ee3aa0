"""Quantisation to e4m3 in Triton: scale = max|x| / 448 of a group, y = x / scale, rounded to the nearest even.

One program takes one row, as [groups, group] in registers.
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
from .reference import SMALLEST_SCALE


@triton.jit
def round_row(x, LARGEST: tl.constexpr, SMALLEST_SCALE: tl.constexpr):
    """(x / scale, scale) of a whole row, float32; not yet cast."""
    scale = tl.maximum(tl.max(tl.abs(x), axis=0) / LARGEST, SMALLEST_SCALE)
    # A maximum leaves NaN out, and must not lose it.
    scale = tl.where(tl.sum((x != x).to(tl.int32), axis=0) > 0, float("nan"), scale)
    return tl.clamp(x / scale, -LARGEST, LARGEST), scale


@triton.jit
def quantize_fp8_kernel(
    x_ptr,
    y_ptr,
    scale_ptr,
    groups,
    GROUP: tl.constexpr,
    BLOCK_GROUPS: tl.constexpr,
    BLOCK: tl.constexpr,
    LARGEST: tl.constexpr,
    SMALLEST_SCALE: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    group = tl.arange(0, BLOCK_GROUPS)
    member = tl.arange(0, BLOCK)
    mask = (group < groups)[:, None] & (member < GROUP)[None, :]
    at = row * (groups * GROUP) + group[:, None] * GROUP + member[None, :]
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(x), axis=1) / LARGEST, SMALLEST_SCALE)  # [BLOCK_GROUPS]
    # A maximum leaves NaN out, and must not lose it.
    scale = tl.where(tl.sum((x != x).to(tl.int32), axis=1) > 0, float("nan"), scale)
    y = tl.clamp(x / scale[:, None], -LARGEST, LARGEST)
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=mask)
    tl.store(scale_ptr + row * groups + group, scale, mask=group < groups)


def quantize_fp8_triton(x: Tensor, group: int | None = None) -> Fp8Rows:
    """See `quantize_fp8`. x: contiguous [T, size], size at most 65,536 and a multiple of `group`."""
    require(x.dim() == 2 and 0 < x.shape[1] <= 65536, f"x must be [T, at most 65536], not {list(x.shape)}")
    check_floats(x=x)
    rows, size = x.shape
    width = group or size
    require(size % width == 0, f"groups of {width} do not divide rows of {size}")
    groups = size // width
    values = torch.empty((rows, size), dtype=FP8, device=x.device)
    scales = torch.empty((rows, groups), dtype=torch.float32, device=x.device)
    if rows:
        block_groups, block = triton.next_power_of_2(groups), triton.next_power_of_2(width)
        quantize_fp8_kernel[(rows,)](
            x,
            values,
            scales,
            groups,
            GROUP=width,
            BLOCK_GROUPS=block_groups,
            BLOCK=block,
            LARGEST=LARGEST,
            SMALLEST_SCALE=SMALLEST_SCALE,
            num_warps=min(16, max(1, block_groups * block // 512)),
        )
    return Fp8Rows(values, scales.view(-1) if group is None else scales)
