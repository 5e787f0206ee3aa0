"""Paged prefill attention in Triton: causal flash attention of ragged rows over paged keys and values.

One program takes BLOCK_M new tokens of one row and one query head. It walks the row's tokens up to its own last one
with an online softmax; only the blocks that touch the diagonal are masked.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_caches, check_floats, check_integers, require

LOG2_E = 1.4426950408889634


@triton.jit
def attend_block(
    acc,
    total,
    best,
    q,
    k_ptr,
    v_ptr,
    table,
    start,
    length,
    position,
    kv_head,
    scale,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One step of the online softmax over tokens [start, start + BLOCK_N)."""
    column = tl.arange(0, BLOCK_D)
    token = start + tl.arange(0, BLOCK_N)
    in_row = token < length
    page = tl.load(table + token // PAGE_SIZE, mask=in_row, other=0).to(tl.int64)
    at = ((page * PAGE_SIZE + token % PAGE_SIZE) * KV_HEADS + kv_head) * HEAD_DIM  # [BLOCK_N]
    kv_mask = in_row[:, None] & (column < HEAD_DIM)[None, :]
    k = tl.load(k_ptr + at[:, None] + column[None, :], mask=kv_mask, other=0.0)  # [BLOCK_N, BLOCK_D]
    v = tl.load(v_ptr + at[:, None] + column[None, :], mask=kv_mask, other=0.0)
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale  # [BLOCK_M, BLOCK_N], in powers of two
    if MASKED:
        scores = tl.where(token[None, :] <= position[:, None], scores, float("-inf"))
    higher = tl.maximum(best, tl.max(scores, axis=1))
    weights = tl.exp2(scores - higher[:, None])
    fade = tl.exp2(best - higher)
    total = total * fade + tl.sum(weights, axis=1)
    acc = acc * fade[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
    return acc, total, higher


# Slices of a step's arrays begin anywhere: one compilation must serve every alignment.
@triton.jit(
    do_not_specialize=["table_width"], do_not_specialize_on_alignment=["table_ptr", "starts_ptr", "lengths_ptr"]
)
def paged_prefill_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    table_ptr,
    starts_ptr,
    lengths_ptr,
    out_ptr,
    table_width,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    block = tl.program_id(0)
    head = tl.program_id(1)
    row = tl.program_id(2).to(tl.int64)
    kv_head = head // (HEADS // KV_HEADS)
    begin = tl.load(starts_ptr + row)
    new = tl.load(starts_ptr + row + 1) - begin
    if block * BLOCK_M >= new:
        return
    length = tl.load(lengths_ptr + row)
    cached = length - new

    member = block * BLOCK_M + tl.arange(0, BLOCK_M)  # new token of the row
    column = tl.arange(0, BLOCK_D)
    at = (begin + member).to(tl.int64) * (HEADS * HEAD_DIM) + head * HEAD_DIM  # [BLOCK_M]
    mask = (member < new)[:, None] & (column < HEAD_DIM)[None, :]
    q = tl.load(q_ptr + at[:, None] + column[None, :], mask=mask, other=0.0)
    position = cached + member

    best = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    table = table_ptr + row * table_width
    # Every token of the block sees all of [0, open); the diagonal lies in [open, stop).
    open_end = (cached + block * BLOCK_M) // BLOCK_N * BLOCK_N
    stop = tl.minimum(cached + (block + 1) * BLOCK_M, length)
    for start in range(0, open_end, BLOCK_N):
        acc, total, best = attend_block(
            acc, total, best, q, k_ptr, v_ptr, table, start, length, position, kv_head, scale,
            KV_HEADS, HEAD_DIM, PAGE_SIZE, BLOCK_N, BLOCK_D, False, PRECISION,
        )  # fmt: skip
    for start in range(open_end, stop, BLOCK_N):
        acc, total, best = attend_block(
            acc, total, best, q, k_ptr, v_ptr, table, start, length, position, kv_head, scale,
            KV_HEADS, HEAD_DIM, PAGE_SIZE, BLOCK_N, BLOCK_D, True, PRECISION,
        )  # fmt: skip
    y = acc / total[:, None]
    tl.store(out_ptr + at[:, None] + column[None, :], y.to(out_ptr.dtype.element_ty), mask=mask)


def tile(head_dim: int, wide: bool) -> tuple[int, int, int]:
    """(BLOCK_M, BLOCK_N, warps) that fit the registers and shared memory of sm_80 and newer."""
    if wide:
        return (32, 32, 4) if head_dim <= 128 else (16, 16, 4)
    if head_dim <= 64:
        return 128, 64, 4
    return (64, 64, 4) if head_dim <= 128 else (64, 32, 8)


def paged_prefill_attention_triton(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    starts: Tensor,
    lengths: Tensor,
    max_tokens: int,
    scale: float,
    out: Tensor | None = None,
) -> Tensor:
    """See `paged_prefill_attention`. All tensors contiguous."""
    check_caches(q, k_cache, v_cache)
    check_floats(q=q, k_cache=k_cache, v_cache=v_cache)
    check_integers(torch.int32, q.device, page_table=page_table, starts=starts, lengths=lengths)
    _, heads, head_dim = q.shape
    _, page_size, kv_heads, _ = k_cache.shape
    rows = lengths.shape[0]
    require(page_table.dim() == 2 and page_table.shape[0] == rows, "page_table must be [rows, width]")
    require(starts.shape == (rows + 1,), "starts must be [rows + 1]")
    out = torch.empty_like(q) if out is None else out
    require(out.shape == q.shape, "out must have the shape of q")
    check_floats(q=q, out=out)
    if not rows or not max_tokens:
        return out
    block_d = max(16, triton.next_power_of_2(head_dim))
    block_m, block_n, warps = tile(block_d, q.dtype == torch.float32)
    paged_prefill_kernel[(triton.cdiv(max_tokens, block_m), heads, rows)](
        q,
        k_cache,
        v_cache,
        page_table,
        starts,
        lengths,
        out,
        page_table.shape[1],
        scale * LOG2_E,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_D=block_d,
        PRECISION="ieee",
        num_warps=warps,
        num_stages=2,
    )
    return out
