"""Paged decode attention in Triton, split over the tokens of a row.

Each program takes the query heads of one kv head and one of SPLITS parts of the row, and keeps the running maximum m,
sum l and weighted values acc of an online softmax, in powers of two. Of the parts that are not empty the one that ends
last combines all: out = sum_s 2^(m_s - m) acc_s / sum_s 2^(m_s - m) l_s. The parts follow the row's length on the
device; their number, and so the grid, follows from shapes alone. A row with a shared prefix (see shared_prefix.py)
begins with what was worked out for the prefix, and reads its own tokens only.
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
from .prefixes import SharedPrefixes
from .shared_prefix import shared_prefix_parts

LOG2_E = 1.4426950408889634


@triton.jit
def merge(acc, total, best, acc_2, total_2, best_2):
    """One partial softmax of two over different tokens; the maximum of an empty one is -inf."""
    higher = tl.maximum(best, best_2)
    level = tl.where(higher == float("-inf"), 0.0, higher)  # -inf - -inf must not be taken
    fade, fade_2 = tl.exp2(best - level), tl.exp2(best_2 - level)
    return acc * fade[:, None] + acc_2 * fade_2[:, None], total * fade + total_2 * fade_2, higher


# Slices of a step's arrays begin anywhere: one compilation must serve every alignment.
@triton.jit(
    do_not_specialize=["table_width"],
    do_not_specialize_on_alignment=["table_ptr", "lengths_ptr", "prefix_lengths_ptr", "prefix_parts_ptr"],
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
    table_width,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    SPLITS: tl.constexpr,
    PREFIX_PARTS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
    PDL: tl.constexpr,
):
    GROUP: tl.constexpr = HEADS // KV_HEADS
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    start_next(PDL)
    wait_previous(PDL)
    length = tl.load(lengths_ptr + row)
    prefix = 0
    if PREFIX_PARTS > 0:
        prefix = tl.load(prefix_lengths_ptr + row)
    chunk = tl.maximum(tl.cdiv(tl.cdiv(length - prefix, SPLITS), BLOCK_N), 1) * BLOCK_N
    used = tl.maximum(tl.cdiv(length - prefix, chunk), 1)
    if split >= used:
        return
    first = prefix + split * chunk
    last = tl.minimum(first + chunk, length)

    member = tl.arange(0, BLOCK_G)  # query heads of this kv head
    column = tl.arange(0, BLOCK_D)
    in_head = column < HEAD_DIM
    head = kv_head * GROUP + member
    in_group = member < GROUP
    q_mask = in_group[:, None] & in_head[None, :]
    q = tl.load(q_ptr + row * (HEADS * HEAD_DIM) + head[:, None] * HEAD_DIM + column[None, :], mask=q_mask, other=0.0)

    best = tl.full([BLOCK_G], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_G], tl.float32)
    acc = tl.zeros([BLOCK_G, BLOCK_D], tl.float32)
    if PREFIX_PARTS > 0:  # noqa: SIM102 - known when it is compiled, unlike the next
        if split == 0 and prefix > 0:
            parts = tl.load(prefix_parts_ptr + row)
            for part in tl.static_range(PREFIX_PARTS):
                at = (row * HEADS + head) * PREFIX_PARTS + part  # [BLOCK_G]
                there = part < parts
                best_2 = tl.load(prefix_max_ptr + at, mask=in_group & there, other=float("-inf"))
                total_2 = tl.load(prefix_sum_ptr + at, mask=in_group & there, other=0.0)
                acc_2 = tl.load(
                    prefix_part_ptr + at[:, None] * HEAD_DIM + column[None, :], mask=q_mask & there, other=0.0
                )
                acc, total, best = merge(acc, total, best, acc_2, total_2, best_2)
    for start in range(first, last, BLOCK_N):
        token = start + tl.arange(0, BLOCK_N)
        valid = token < last
        if PAGE_SIZE % BLOCK_N == 0:  # a tile lies within one page
            page = tl.load(table_ptr + row * table_width + start // PAGE_SIZE).to(tl.int64)
        else:
            page = tl.load(table_ptr + row * table_width + token // PAGE_SIZE, mask=valid, other=0).to(tl.int64)
        at = ((page * PAGE_SIZE + token % PAGE_SIZE) * KV_HEADS + kv_head) * HEAD_DIM  # [BLOCK_N]
        kv_mask = valid[:, None] & in_head[None, :]
        k = tl.load(k_ptr + at[:, None] + column[None, :], mask=kv_mask, other=0.0).to(q.dtype)  # [BLOCK_N, BLOCK_D]
        v = tl.load(v_ptr + at[:, None] + column[None, :], mask=kv_mask, other=0.0).to(q.dtype)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale  # [BLOCK_G, BLOCK_N]
        scores = tl.where(valid[None, :], scores, float("-inf"))
        higher = tl.maximum(best, tl.max(scores, axis=1))
        weights = tl.exp2(scores - higher[:, None])
        fade = tl.exp2(best - higher)
        total = total * fade + tl.sum(weights, axis=1)
        acc = acc * fade[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        best = higher

    if SPLITS > 1:  # noqa: SIM102
        if used > 1:
            part = (row * HEADS + head) * SPLITS  # [BLOCK_G]
            tl.store(part_ptr + (part + split)[:, None] * HEAD_DIM + column[None, :], acc, mask=q_mask)
            tl.store(max_ptr + part + split, best, mask=in_group)
            tl.store(sum_ptr + part + split, total, mask=in_group)
            # All threads have stored before one of them counts; who counts last sees what all have stored.
            tl.debug_barrier()
            done = tl.atomic_add(done_ptr + row * KV_HEADS + kv_head, 1, sem="acq_rel", scope="gpu")
            if done < used - 1:
                return
            tl.store(done_ptr + row * KV_HEADS + kv_head, 0)  # for the next layer
            best = tl.full([BLOCK_G], float("-inf"), tl.float32)
            total = tl.zeros([BLOCK_G], tl.float32)
            acc = tl.zeros([BLOCK_G, BLOCK_D], tl.float32)
            for base in range(0, used, 4):
                for other in tl.static_range(4):  # several loads on their way at once
                    at = part + base + other
                    there = base + other < used
                    best_2 = tl.load(max_ptr + at, mask=in_group & there, other=float("-inf"))
                    total_2 = tl.load(sum_ptr + at, mask=in_group & there, other=0.0)
                    acc_2 = tl.load(part_ptr + at[:, None] * HEAD_DIM + column[None, :], mask=q_mask & there, other=0.0)
                    acc, total, best = merge(acc, total, best, acc_2, total_2, best_2)
    y = acc / tl.where(total > 0.0, total, 1.0)[:, None]  # a row of length 0 gives zeros
    out_at = out_ptr + row * (HEADS * HEAD_DIM) + head[:, None] * HEAD_DIM + column[None, :]
    tl.store(out_at, y.to(out_ptr.dtype.element_ty), mask=q_mask)


def counters_of(shared: dict[str, Any] | None, size: int, device: torch.device) -> Tensor:
    """Zeros, int32 [size], that every call leaves as zeros: one tensor does for all layers of a step."""
    found: Tensor | None = None if shared is None else shared.get("decode counters")
    if found is None:
        found = torch.zeros(size, dtype=torch.int32, device=device)
        if shared is not None:
            shared["decode counters"] = found
    return found


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
    parts = maxima = sums = out
    counters = lengths
    if splits > 1:
        parts = torch.empty((rows, heads, splits, head_dim), dtype=torch.float32, device=q.device)
        maxima = torch.empty((rows, heads, splits), dtype=torch.float32, device=q.device)
        sums = torch.empty_like(maxima)
        counters = counters_of(shared, rows * kv_heads, q.device)
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
        width,
        scale * LOG2_E,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        SPLITS=splits,
        PREFIX_PARTS=0 if prefixes is None else prefixes.most_parts,
        BLOCK_G=max(16, triton.next_power_of_2(heads // kv_heads)),
        BLOCK_N=block_n,
        BLOCK_D=max(16, triton.next_power_of_2(head_dim)),
        PRECISION="ieee",
        num_warps=warps,
        num_stages=stages,
        **dependent_launch(q),
    )
    return out
