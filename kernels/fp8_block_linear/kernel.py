"""The block-scaled product in Triton.

One program makes a tile of BLOCK_M tokens by BLOCK_N outputs. Each group of 128 inputs is one product of 8-bit tiles in
the tensor cores, which then joins the float32 sum with the group's scales. Programs that share outputs run together, so
that a weight is read from memory once.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_floats, require
from ..fp8 import FP8
from .reference import GROUP


@triton.jit
def fp8_block_linear_kernel(
    x_ptr,
    x_scale_ptr,
    weight_ptr,
    weight_scale_ptr,
    bias_ptr,
    y_ptr,
    tokens,
    outputs,
    groups,
    HAS_BIAS: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    token = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    output = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    member = tl.arange(0, GROUP)
    # What is past the end is read from the start again, and not written.
    x_row, w_row = token % tokens, output % outputs
    x_at = x_ptr + x_row[:, None] * (groups * GROUP) + member[None, :]
    w_at = weight_ptr + w_row[None, :] * (groups * GROUP) + member[:, None]
    acc = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for group in range(groups):
        x = tl.load(x_at + group * GROUP)  # [BLOCK_M, GROUP]
        w = tl.load(w_at + group * GROUP)  # [GROUP, BLOCK_N]
        x_scale = tl.load(x_scale_ptr + x_row * groups + group)
        w_scale = tl.load(weight_scale_ptr + w_row * groups + group)
        acc += tl.dot(x, w) * x_scale[:, None] * w_scale[None, :]
    if HAS_BIAS:
        acc += tl.load(bias_ptr + w_row).to(tl.float32)[None, :]
    mask = (token < tokens)[:, None] & (output < outputs)[None, :]
    tl.store(y_ptr + token[:, None] * outputs + output[None, :], acc.to(y_ptr.dtype.element_ty), mask=mask)


def tile(tokens: int) -> tuple[int, int, int, int]:
    """(BLOCK_M, BLOCK_N, warps, stages)."""
    if tokens <= 16:
        return 16, 64, 4, 5
    if tokens <= 64:
        return 64, 64, 4, 4
    return 128, 128, 8, 3


def fp8_block_linear_triton(
    x: Tensor, x_scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """See `fp8_block_linear`. All tensors contiguous; inputs a multiple of 128."""
    require(x.dim() == 2 and weight.dim() == 2 and x.shape[1] == weight.shape[1], "x and weight do not fit")
    require(x.dtype == weight.dtype == FP8, f"x and weight must be {FP8}, not {x.dtype} and {weight.dtype}")
    (tokens, inputs), outputs = x.shape, weight.shape[0]
    require(inputs % GROUP == 0, f"{inputs} inputs are no multiple of {GROUP}")
    groups = inputs // GROUP
    require(x_scale.shape == (tokens, groups), f"x_scale must be {[tokens, groups]}, not {list(x_scale.shape)}")
    require(weight_scale.shape == (outputs, groups), f"weight_scale must be {[outputs, groups]}")
    require(x.is_contiguous() and weight.is_contiguous(), "x and weight must be contiguous")
    check_floats(x_scale=x_scale, weight_scale=weight_scale)
    y = torch.empty((tokens, outputs), dtype=dtype, device=x.device)
    if bias is not None:
        require(bias.shape == (outputs,), "bias must be [outputs]")
        check_floats(y=y, bias=bias)
    if tokens:
        block_m, block_n, warps, stages = tile(tokens)
        fp8_block_linear_kernel[(triton.cdiv(tokens, block_m), triton.cdiv(outputs, block_n))](
            x,
            x_scale,
            weight,
            weight_scale,
            y if bias is None else bias,
            y,
            tokens,
            outputs,
            groups,
            HAS_BIAS=bias is not None,
            GROUP=GROUP,
            BLOCK_M=block_m,
            BLOCK_N=block_n,
            num_warps=warps,
            num_stages=stages,
        )
    return y
