"""y = norm(x) W^T for very few rows on the ordinary arithmetic units: the weight is read once, at memory bandwidth.

y_rn = s_r sum_k x_rk g_k W_nk, with s_r = 1 / sqrt(mean_k x_rk^2 + eps) and g the norm's weight, both 1 without a norm.
Then, as asked for: y = silu(y_gate) * y_up, y += bias, y += residual. All in float32, rounded once.

One program takes BLOCK_N outputs and all of K. A thread holds 16 bytes of each of its outputs' weights; the row's
values serve all of them. With PDL (see `dependent_launch`) the first weights are on their way before the kernel that
makes x has ended.
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
from .tiles import tile


@triton.jit(do_not_specialize=["rows"])
def skinny_rows_kernel(
    x_ptr,
    weight_ptr,
    scale_ptr,
    bias_ptr,
    norm_ptr,
    residual_ptr,
    out_ptr,
    rows,
    outputs,
    inputs,
    eps,
    ROWS: tl.constexpr,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    NORM: tl.constexpr,
    RESIDUAL: tl.constexpr,
    SILU: tl.constexpr,
    PDL: tl.constexpr,
    EVEN: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    CHUNK: tl.constexpr,
):
    column = tl.arange(0, BLOCK_N)
    if SILU:  # half of the outputs are gates, the other half the ups that belong to them
        HALF: tl.constexpr = BLOCK_N // 2
        inner = outputs // 2
        n = tl.minimum(tl.program_id(0) * HALF + column % HALF, inner - 1) + (column // HALF) * inner
    else:
        n = tl.minimum(tl.program_id(0) * BLOCK_N + column, outputs - 1)
    k = tl.arange(0, BLOCK_K)[None, None, :]
    row = tl.minimum(tl.arange(0, ROWS), rows - 1)[None, :, None]
    weights = weight_ptr + n.to(tl.int64)[:, None, None] * inputs + k  # [BLOCK_N, 1, BLOCK_K]
    if EVEN:
        w = tl.load(weights, eviction_policy="evict_first")
    else:
        w = tl.load(weights, mask=k < inputs, other=0.0, eviction_policy="evict_first")
    start_next(PDL)
    wait_previous(PDL)
    acc = tl.zeros([BLOCK_N, ROWS, BLOCK_K // CHUNK], tl.float32)
    squares = tl.zeros([1, ROWS, BLOCK_K // CHUNK], tl.float32)
    for start in range(0, inputs, BLOCK_K):
        ahead = start + BLOCK_K
        if EVEN:
            following = tl.load(weights + ahead, mask=k + ahead < inputs, other=0.0, eviction_policy="evict_first")
            x = tl.load(x_ptr + row * inputs + start + k).to(tl.float32)  # [1, ROWS, BLOCK_K]
        else:
            following = tl.load(weights + ahead, mask=k + ahead < inputs, other=0.0, eviction_policy="evict_first")
            x = tl.load(x_ptr + row * inputs + start + k, mask=k + start < inputs, other=0.0).to(tl.float32)
        if NORM:
            squares += tl.sum(tl.reshape(x * x, [1, ROWS, BLOCK_K // CHUNK, CHUNK]), axis=3)
            x *= tl.load(norm_ptr + start + k, mask=k + start < inputs, other=0.0).to(tl.float32)
        product = w.to(tl.float32) * x  # [BLOCK_N, ROWS, BLOCK_K]
        acc += tl.sum(tl.reshape(product, [BLOCK_N, ROWS, BLOCK_K // CHUNK, CHUNK]), axis=3)
        w = following
    y = tl.sum(acc, axis=2)  # [BLOCK_N, ROWS]
    out_row = tl.arange(0, ROWS)[None, :]
    if NORM:
        y *= tl.rsqrt(tl.sum(squares, axis=2) / inputs + eps)
    if SCALE:
        y *= tl.load(scale_ptr + n)[:, None]
    if BIAS:
        y += tl.load(bias_ptr + n).to(tl.float32)[:, None]
    if SILU:
        gate, up = tl.split(tl.permute(tl.reshape(y, [2, BLOCK_N // 2, ROWS]), [1, 2, 0]))
        y = gate / (1.0 + tl.exp(-gate)) * up
        m = tl.program_id(0) * (BLOCK_N // 2) + tl.arange(0, BLOCK_N // 2)
        width = outputs // 2
    else:
        m = tl.program_id(0) * BLOCK_N + column
        width = outputs
    at = out_row * width + m[:, None]
    mask = (m[:, None] < width) & (out_row < rows)
    if RESIDUAL:
        y += tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty), mask=mask)


def skinny_linear_triton(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    norm: tuple[Tensor, float] | None = None,
    residual: Tensor | None = None,
    silu: bool = False,
    scale: Tensor | None = None,
) -> Tensor:
    """See `skinny_linear`. All tensors contiguous, at most 8 rows."""
    require(x.dim() == 2 and weight.dim() == 2, f"x {list(x.shape)} and weight {list(weight.shape)} must be matrices")
    rows, inputs = x.shape
    outputs = weight.shape[0]
    width = outputs // 2 if silu else outputs
    require(weight.shape[1] == inputs, f"x has {inputs} columns, the weight {weight.shape[1]}")
    require(rows <= 8, f"{rows} rows are too many for this kernel")
    require(not silu or outputs % 2 == 0, f"{outputs} outputs are not gates and ups")
    check_floats(x=x)
    check_weight(x, weight, scale)
    if bias is not None:
        require(bias.shape == (outputs,), f"bias {list(bias.shape)} for {outputs} outputs")
        check_floats(x=x, bias=bias)
    if norm is not None:
        require(norm[0].shape == (inputs,), f"norm weight {list(norm[0].shape)} for {inputs} inputs")
        check_floats(x=x, norm=norm[0])
    if residual is not None:
        require(residual.shape == (rows, width), f"residual {list(residual.shape)} for y {[rows, width]}")
        check_floats(x=x, residual=residual)
    out = torch.empty((rows, width), dtype=x.dtype, device=x.device)
    if not rows:
        return out
    padded = triton.next_power_of_2(rows)
    chosen = tile(padded, inputs, weight.element_size())
    block = max(2, chosen.outputs)
    skinny_rows_kernel[(triton.cdiv(width, block // 2 if silu else block),)](
        x,
        weight,
        x if scale is None else scale,
        x if bias is None else bias,
        x if norm is None else norm[0],
        x if residual is None else residual,
        out,
        rows,
        outputs,
        inputs,
        0.0 if norm is None else norm[1],
        ROWS=padded,
        SCALE=scale is not None,
        BIAS=bias is not None,
        NORM=norm is not None,
        RESIDUAL=residual is not None,
        SILU=silu,
        EVEN=inputs % chosen.inputs == 0,
        BLOCK_N=block,
        BLOCK_K=chosen.inputs,
        CHUNK=chosen.chunk,
        num_warps=chosen.warps,
        **dependent_launch(x),
    )
    return out


def check_weight(x: Tensor, weight: Tensor, scale: Tensor | None) -> None:
    """A weight in x's dtype, or e4m3 with its scale."""
    if scale is None:
        check_floats(x=x, weight=weight)
        return
    require(weight.dtype == torch.float8_e4m3fn, f"a weight with a scale is e4m3, not {weight.dtype}")
    require(weight.is_contiguous() and weight.device == x.device, f"weight must be contiguous, on {x.device}")
    require(scale.dtype == torch.float32 and scale.shape == weight.shape[:1], "scale must be float32 [outputs]")
    require(scale.is_contiguous() and scale.device == x.device, f"scale must be contiguous, on {x.device}")
