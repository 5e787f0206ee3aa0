"""Attention of decode rows over the prefix that they share, in Triton: each key is read once for all of them.

One program takes the rows of one item of work (see prefixes.py) and one kv head: up to ROWS times GROUP queries against
the item's tokens. It leaves a partial softmax for each query: maximum m in powers of two, sum l and weighted values.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .prefixes import ITEM_WORDS, SharedPrefixes

LOG2_E = 1.4426950408889634


@triton.jit(do_not_specialize=["table_width"], do_not_specialize_on_alignment=["table_ptr", "items_ptr"])
def shared_prefix_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    table_ptr,
    items_ptr,
    part_ptr,
    max_ptr,
    sum_ptr,
    table_width,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    PARTS: tl.constexpr,
    WORDS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    GROUP: tl.constexpr = HEADS // KV_HEADS
    item = items_ptr + tl.program_id(0) * WORDS
    kv_head = tl.program_id(1)
    rows = tl.load(item + 1)
    if rows == 0:
        return
    first_row = tl.load(item).to(tl.int64)
    begin = tl.load(item + 2)
    end = tl.load(item + 3)
    part = tl.load(item + 4)

    query = tl.arange(0, BLOCK_M)
    member = query % BLOCK_G
    there = (query // BLOCK_G < rows) & (member < GROUP)
    line = (first_row + query // BLOCK_G) * HEADS + kv_head * GROUP + member  # row * heads + head
    column = tl.arange(0, BLOCK_D)
    in_head = column < HEAD_DIM
    mask = there[:, None] & in_head[None, :]
    q = tl.load(q_ptr + line[:, None] * HEAD_DIM + column[None, :], mask=mask, other=0.0)

    best = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    table = table_ptr + first_row * table_width
    for start in range(begin, end, BLOCK_N):
        token = start + tl.arange(0, BLOCK_N)
        valid = token < end
        if PAGE_SIZE % BLOCK_N == 0:  # a tile lies within one page
            page = tl.load(table + start // PAGE_SIZE).to(tl.int64)
        else:
            page = tl.load(table + token // PAGE_SIZE, mask=valid, other=0).to(tl.int64)
        at = ((page * PAGE_SIZE + token % PAGE_SIZE) * KV_HEADS + kv_head) * HEAD_DIM  # [BLOCK_N]
        kv_mask = valid[:, None] & in_head[None, :]
        k = tl.load(k_ptr + at[:, None] + column[None, :], mask=kv_mask, other=0.0).to(q.dtype)
        v = tl.load(v_ptr + at[:, None] + column[None, :], mask=kv_mask, other=0.0).to(q.dtype)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # [BLOCK_M, BLOCK_N]
        scores = tl.where(valid[None, :], scores, float("-inf"))
        higher = tl.maximum(best, tl.max(scores, axis=1) * scale)
        weights = tl.exp2(scores * scale - higher[:, None])
        fade = tl.exp2(best - higher)
        total = total * fade + tl.sum(weights, axis=1)
        acc = tl.dot(weights.to(v.dtype), v, acc * fade[:, None], input_precision=PRECISION)
        best = higher

    at = line * PARTS + part
    tl.store(part_ptr + at[:, None] * HEAD_DIM + column[None, :], acc, mask=mask)
    tl.store(max_ptr + at, best, mask=there)
    tl.store(sum_ptr + at, total, mask=there)


def tile(block_d: int, block_m: int, wide: bool) -> tuple[int, int, int]:
    """(BLOCK_N, warps, stages) that fit the registers and shared memory of sm_80 and newer."""
    warps = 8 if block_m > 64 else 4
    if wide:
        return (16 if block_d > 128 else 32), warps, 1
    return (32 if block_d > 128 else 64), warps, 2


def shared_prefix_parts(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    scale: float,
    prefixes: SharedPrefixes,
    tiles: tuple[int, int, int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Partial softmax of each row over the parts of its shared prefix: float32 values [rows, heads, parts, head_dim],
    and maxima and sums [rows, heads, parts]. What belongs to no part is not written.
    """
    rows, heads, head_dim = q.shape
    _, page_size, kv_heads, _ = k_cache.shape
    shape = (rows, heads, prefixes.most_parts)
    parts = torch.empty((*shape, head_dim), dtype=torch.float32, device=q.device)
    maxima, sums = torch.empty((2, *shape), dtype=torch.float32, device=q.device).unbind()
    block_d = max(16, triton.next_power_of_2(head_dim))
    block_g = triton.next_power_of_2(heads // kv_heads)
    block_m = max(16, prefixes.item_rows * block_g)
    block_n, warps, stages = tiles or tile(block_d, block_m, q.dtype == torch.float32)
    shared_prefix_kernel[(prefixes.items.shape[0], kv_heads)](
        q,
        k_cache,
        v_cache,
        page_table,
        prefixes.items,
        parts,
        maxima,
        sums,
        page_table.shape[1],
        scale * LOG2_E,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        PARTS=prefixes.most_parts,
        WORDS=ITEM_WORDS,
        BLOCK_G=block_g,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_D=block_d,
        PRECISION="ieee",
        num_warps=warps,
        num_stages=stages,
    )
    return parts, maxima, sums
