"""Paged decode attention in Triton, split over the tokens of a row.

Each program takes the query heads of one kv head and one of SPLITS equal parts of the row, and keeps the running
maximum m, sum l and weighted values of an online softmax. A second kernel combines the parts:
out = sum_s exp(m_s - m) acc_s / sum_s exp(m_s - m) l_s. The parts follow the row's length on the device; their number,
and so the grid, follows from shapes alone.
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
# Programs that keep a large GPU busy; more parts than that only cost their combination.
PROGRAMS = 264
MAX_SPLITS = 64
# A part shorter than this is not worth a program of its own.
MIN_SPLIT_TOKENS = 128


# Slices of a step's arrays begin anywhere: one compilation must serve every alignment.
@triton.jit(do_not_specialize=["table_width"], do_not_specialize_on_alignment=["table_ptr", "lengths_ptr"])
def paged_decode_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    table_ptr,
    lengths_ptr,
    out_ptr,
    part_ptr,
    max_ptr,
    sum_ptr,
    table_width,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    GROUP: tl.constexpr = HEADS // KV_HEADS
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    length = tl.load(lengths_ptr + row)
    chunk = tl.cdiv(tl.cdiv(length, SPLITS), BLOCK_N) * BLOCK_N
    first = split * chunk
    last = tl.minimum(first + chunk, length)

    member = tl.arange(0, BLOCK_G)  # query heads of this kv head
    column = tl.arange(0, BLOCK_D)
    in_head = column < HEAD_DIM
    head = kv_head * GROUP + member
    q_mask = (member < GROUP)[:, None] & in_head[None, :]
    q = tl.load(q_ptr + row * (HEADS * HEAD_DIM) + head[:, None] * HEAD_DIM + column[None, :], mask=q_mask, other=0.0)

    best = tl.full([BLOCK_G], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_G], tl.float32)
    acc = tl.zeros([BLOCK_G, BLOCK_D], tl.float32)
    for start in range(first, last, BLOCK_N):
        token = start + tl.arange(0, BLOCK_N)
        valid = token < last
        page = tl.load(table_ptr + row * table_width + token // PAGE_SIZE, mask=valid, other=0).to(tl.int64)
        at = ((page * PAGE_SIZE + token % PAGE_SIZE) * KV_HEADS + kv_head) * HEAD_DIM  # [BLOCK_N]
        kv_mask = valid[:, None] & in_head[None, :]
        k = tl.load(k_ptr + at[:, None] + column[None, :], mask=kv_mask, other=0.0)  # [BLOCK_N, BLOCK_D]
        v = tl.load(v_ptr + at[:, None] + column[None, :], mask=kv_mask, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale  # [BLOCK_G, BLOCK_N], in powers of two
        scores = tl.where(valid[None, :], scores, float("-inf"))
        higher = tl.maximum(best, tl.max(scores, axis=1))
        weights = tl.exp2(scores - higher[:, None])
        fade = tl.exp2(best - higher)
        total = total * fade + tl.sum(weights, axis=1)
        acc = acc * fade[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        best = higher

    if SPLITS == 1:
        y = acc / tl.where(total > 0.0, total, 1.0)[:, None]  # a row of length 0 gives zeros
        out_at = out_ptr + row * (HEADS * HEAD_DIM) + head[:, None] * HEAD_DIM + column[None, :]
        tl.store(out_at, y.to(out_ptr.dtype.element_ty), mask=q_mask)
    else:
        part = (row * HEADS + head) * SPLITS + split  # [BLOCK_G]
        tl.store(part_ptr + part[:, None] * HEAD_DIM + column[None, :], acc, mask=q_mask)
        tl.store(max_ptr + part, best, mask=member < GROUP)
        tl.store(sum_ptr + part, total, mask=member < GROUP)


@triton.jit
def combine_kernel(
    part_ptr,
    max_ptr,
    sum_ptr,
    out_ptr,
    HEAD_DIM: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)  # row * heads + head
    split = tl.arange(0, BLOCK_S)
    column = tl.arange(0, BLOCK_D)
    in_head = column < HEAD_DIM
    best = tl.load(max_ptr + row * SPLITS + split, mask=split < SPLITS, other=float("-inf"))
    total = tl.load(sum_ptr + row * SPLITS + split, mask=split < SPLITS, other=0.0)
    highest = tl.max(best, axis=0)
    # An empty part has maximum -inf; where all are empty the row has length 0 and -inf - -inf must not be taken.
    weight = tl.where(total > 0.0, tl.exp2(best - tl.where(highest == float("-inf"), 0.0, highest)), 0.0)
    part_at = (row * SPLITS + split)[:, None] * HEAD_DIM + column[None, :]
    part_mask = (total > 0.0)[:, None] & in_head[None, :]
    acc = tl.sum(tl.load(part_ptr + part_at, mask=part_mask, other=0.0) * weight[:, None], axis=0)
    whole = tl.sum(total * weight, axis=0)
    y = acc / tl.where(whole > 0.0, whole, 1.0)
    tl.store(out_ptr + row * HEAD_DIM + column, y.to(out_ptr.dtype.element_ty), mask=in_head)


def splits_for(rows: int, kv_heads: int, tokens: int) -> int:
    """Parts a row, a power of two: enough programs for the GPU, but no part of a full table shorter than the minimum.

    `tokens` is what the page table can hold, not what the rows hold: the grid may depend on shapes only.
    """
    wanted = min(-(-PROGRAMS // (rows * kv_heads)), tokens // MIN_SPLIT_TOKENS, MAX_SPLITS)
    return 1 << max(0, wanted.bit_length() - 1)


def tile(block_d: int, wide: bool) -> tuple[int, int]:
    """(BLOCK_N, stages) that fit the shared memory of sm_80 and newer."""
    return 32 if wide or block_d > 128 else 64, 2 if wide else 3


def paged_decode_attention_triton(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
    splits: int | None = None,
) -> Tensor:
    """See `paged_decode_attention`. All tensors contiguous; `splits` overrides the number of parts."""
    check_caches(q, k_cache, v_cache)
    check_floats(q=q, k_cache=k_cache, v_cache=v_cache)
    check_integers(torch.int32, q.device, page_table=page_table, lengths=lengths)
    rows, heads, head_dim = q.shape
    _, page_size, kv_heads, _ = k_cache.shape
    require(page_table.dim() == 2 and page_table.shape[0] == rows, "page_table must be [rows, width]")
    require(lengths.shape == (rows,), "lengths must be [rows]")
    out = torch.empty_like(q) if out is None else out
    require(out.shape == q.shape, "out must have the shape of q")
    check_floats(q=q, out=out)
    if not rows:
        return out
    width = page_table.shape[1]
    splits = splits_for(rows, kv_heads, width * page_size) if splits is None else splits
    block_d = max(16, triton.next_power_of_2(head_dim))
    block_n, stages = tile(block_d, q.dtype == torch.float32)
    parts = maxima = sums = out
    if splits > 1:
        parts = torch.empty((rows, heads, splits, head_dim), dtype=torch.float32, device=q.device)
        maxima = torch.empty((rows, heads, splits), dtype=torch.float32, device=q.device)
        sums = torch.empty_like(maxima)
    paged_decode_kernel[(rows, kv_heads, splits)](
        q,
        k_cache,
        v_cache,
        page_table,
        lengths,
        out,
        parts,
        maxima,
        sums,
        width,
        scale * LOG2_E,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        SPLITS=splits,
        BLOCK_G=max(16, triton.next_power_of_2(heads // kv_heads)),
        BLOCK_N=block_n,
        BLOCK_D=block_d,
        PRECISION="ieee",
        num_warps=4,
        num_stages=stages,
    )
    if splits > 1:
        combine_kernel[(rows * heads,)](
            parts, maxima, sums, out, HEAD_DIM=head_dim, SPLITS=splits, BLOCK_S=splits, BLOCK_D=block_d, num_warps=2
        )
    return out
