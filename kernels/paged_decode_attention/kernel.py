"""Paged decode attention in Triton, split over the tokens of a row.

Each program takes the query heads of one kv head and one of SPLITS parts of the row, and keeps the running maximum m,
sum l and weighted values acc of an online softmax, in powers of two. Of the parts that are not empty the one that ends
last combines all: out = sum_s 2^(m_s - m) acc_s / sum_s 2^(m_s - m) l_s. The parts follow the row's length on the
device; the grid follows from shapes alone. Rows far longer than the others are left out and cut anew (see
long_rows.py): programs that have done their own part, or have none, take these parts from a queue. A row with a shared
prefix (see shared_prefix.py) begins with what was worked out for the prefix, and reads its own tokens only.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_caches, check_floats, check_integers, check_stored, require
from ..dependent_launch import dependent_launch, start_next, wait_previous
from .cut import Cut, cut_for
from .long_rows import long_rows, room_for, zeros
from .parts import attend, finish_part, read_extra_parts, write_row
from .prefixes import SharedPrefixes
from .shared_prefix import shared_prefix_parts

LOG2_E = 1.4426950408889634


# Slices of a step's arrays begin anywhere: one compilation must serve every alignment.
@triton.jit(
    do_not_specialize=["table_width"],
    do_not_specialize_on_alignment=["table_ptr", "lengths_ptr", "prefix_lengths_ptr", "prefix_parts_ptr", "found_ptr"],
)
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
    done_ptr,
    prefix_lengths_ptr,
    prefix_parts_ptr,
    prefix_part_ptr,
    prefix_max_ptr,
    prefix_sum_ptr,
    found_ptr,
    table_width,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    SPLITS: tl.constexpr,
    PREFIX_PARTS: tl.constexpr,
    LONG: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
    PDL: tl.constexpr,
):
    GROUP: tl.constexpr = HEADS // KV_HEADS
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    split = tl.program_id(2) if SPLITS > 1 else 0
    start_next(PDL)
    wait_previous(PDL)
    length = tl.load(lengths_ptr + row)
    prefix = 0
    if PREFIX_PARTS > 0:
        prefix = tl.load(prefix_lengths_ptr + row)
    own = length - prefix
    chunk = tl.maximum(tl.cdiv(tl.cdiv(own, SPLITS), BLOCK_N), 1) * BLOCK_N
    ordinary = split == 0 or split * chunk < own
    extra = 0
    if LONG:
        extra = tl.load(found_ptr)
        ordinary = ordinary and own <= tl.load(found_ptr + 1)

    member = tl.arange(0, BLOCK_G)  # query heads of this kv head
    column = tl.arange(0, BLOCK_D)
    in_head = column < HEAD_DIM
    in_group = member < GROUP
    q_mask = in_group[:, None] & in_head[None, :]
    if ordinary:
        first = prefix + split * chunk
        last = length if SPLITS == 1 else tl.minimum(first + chunk, length)
        head = kv_head * GROUP + member
        acc, total, best = attend(
            q_ptr, k_ptr, v_ptr, table_ptr, prefix_parts_ptr, prefix_part_ptr, prefix_max_ptr, prefix_sum_ptr,
            row, kv_head, split, prefix, first, last, head, column, in_group, q_mask, table_width, scale,
            HEADS, KV_HEADS, HEAD_DIM, PAGE_SIZE, PREFIX_PARTS, BLOCK_G, BLOCK_N, BLOCK_D, PRECISION,
        )  # fmt: skip
        if SPLITS > 1 and own > chunk:
            finish_part(
                acc, total, best, out_ptr, part_ptr, max_ptr, sum_ptr, done_ptr,
                row, kv_head, row * SPLITS, split, tl.cdiv(own, chunk), head, column, in_group, q_mask,
                HEADS, KV_HEADS, HEAD_DIM,
            )  # fmt: skip
        else:
            write_row(out_ptr, row, head, column, q_mask, acc, total, HEADS, HEAD_DIM)

    if LONG:  # noqa: SIM102
        if extra > 0:
            read_extra_parts(
                q_ptr, k_ptr, v_ptr, table_ptr, lengths_ptr, out_ptr, part_ptr, max_ptr, sum_ptr, done_ptr,
                prefix_lengths_ptr, prefix_parts_ptr, prefix_part_ptr, prefix_max_ptr, prefix_sum_ptr,
                found_ptr, table_width, scale,
                HEADS, KV_HEADS, HEAD_DIM, PAGE_SIZE, SPLITS, PREFIX_PARTS, BLOCK_G, BLOCK_N, BLOCK_D, PRECISION,
            )  # fmt: skip


def paged_decode_attention_triton(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
    prefixes: SharedPrefixes | None = None,
    shared: dict[str, Any] | None = None,
    cut: Cut | None = None,
) -> Tensor:
    """See `paged_decode_attention`. All tensors contiguous; `cut` overrides the choice."""
    check_caches(q, k_cache, v_cache)
    check_floats(q=q)
    check_stored(q, k_cache=k_cache, v_cache=v_cache)
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
    splits, block_n, warps, stages = cut_for(q, k_cache, width * page_size) if cut is None else cut
    uneven = rows > 1  # one row is not longer than others
    parts = maxima = sums = out
    counters = found = lengths
    slots = (rows * splits if splits > 1 else 0) + (room_for(rows, splits) if uneven else 0)
    if slots:
        parts = torch.empty((slots, heads, head_dim), dtype=torch.float32, device=q.device)
        maxima, sums = torch.empty((2, slots, heads), dtype=torch.float32, device=q.device).unbind()
    if uneven:
        found, counters = long_rows(lengths, prefixes, splits, block_n, rows * kv_heads + 1, shared)
    elif splits > 1:
        counters = zeros(kv_heads, shared, q.device)
    prefix_arguments = (lengths, lengths, out, out, out)
    if prefixes is not None:
        prefixes.check(rows, q.device)
        prefix_parts = shared_prefix_parts(q, k_cache, v_cache, page_table, scale, prefixes)
        prefix_arguments = (prefixes.lengths, prefixes.parts, *prefix_parts)
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
        counters,
        *prefix_arguments,
        found,
        width,
        scale * LOG2_E,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        SPLITS=splits,
        PREFIX_PARTS=0 if prefixes is None else prefixes.most_parts,
        LONG=uneven,
        BLOCK_G=max(16, triton.next_power_of_2(heads // kv_heads)),
        BLOCK_N=block_n,
        BLOCK_D=max(16, triton.next_power_of_2(head_dim)),
        PRECISION="ieee",
        num_warps=warps,
        num_stages=stages,
        **dependent_launch(q),
    )
    return out
