"""What is done with one part of a row's tokens in paged decode attention, in Triton (see kernel.py)."""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import triton
import triton.language as tl

from .long_rows import WORDS


@triton.jit
def merge(acc, total, best, acc_2, total_2, best_2):
    """One partial softmax of two over different tokens; the maximum of an empty one is -inf."""
    higher = tl.maximum(best, best_2)
    level = tl.where(higher == float("-inf"), 0.0, higher)  # -inf - -inf must not be taken
    fade, fade_2 = tl.exp2(best - level), tl.exp2(best_2 - level)
    return acc * fade[:, None] + acc_2 * fade_2[:, None], total * fade + total_2 * fade_2, higher


@triton.jit
def write_row(out_ptr, row, head, column, q_mask, acc, total, HEADS: tl.constexpr, HEAD_DIM: tl.constexpr):
    y = acc / tl.where(total > 0.0, total, 1.0)[:, None]  # a row of length 0 gives zeros
    out_at = out_ptr + row * (HEADS * HEAD_DIM) + head[:, None] * HEAD_DIM + column[None, :]
    tl.store(out_at, y.to(out_ptr.dtype.element_ty), mask=q_mask)


@triton.jit
def add_prefix(
    acc,
    total,
    best,
    prefix_parts_ptr,
    prefix_part_ptr,
    prefix_max_ptr,
    prefix_sum_ptr,
    row,
    head,
    column,
    in_group,
    q_mask,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PREFIX_PARTS: tl.constexpr,
):
    """The partial softmax gone on with over what was worked out for the row's shared prefix."""
    parts = tl.load(prefix_parts_ptr + row)
    for part in tl.static_range(PREFIX_PARTS):
        at = (row * HEADS + head) * PREFIX_PARTS + part  # [BLOCK_G]
        there = part < parts
        best_2 = tl.load(prefix_max_ptr + at, mask=in_group & there, other=float("-inf"))
        total_2 = tl.load(prefix_sum_ptr + at, mask=in_group & there, other=0.0)
        acc_2 = tl.load(prefix_part_ptr + at[:, None] * HEAD_DIM + column[None, :], mask=q_mask & there, other=0.0)
        acc, total, best = merge(acc, total, best, acc_2, total_2, best_2)
    return acc, total, best


@triton.jit
def read_tokens(
    acc,
    total,
    best,
    q,
    k_ptr,
    v_ptr,
    table_ptr,
    first,
    last,
    kv_head,
    scale,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The partial softmax gone on with over tokens first to last of the row of this page table."""
    column = tl.arange(0, BLOCK_D)
    in_head = column < HEAD_DIM
    for start in range(first, last, BLOCK_N):
        token = start + tl.arange(0, BLOCK_N)
        valid = token < last
        if PAGE_SIZE % BLOCK_N == 0:  # a tile lies within one page
            page = tl.load(table_ptr + start // PAGE_SIZE).to(tl.int64)
        else:
            page = tl.load(table_ptr + token // PAGE_SIZE, mask=valid, other=0).to(tl.int64)
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
    return acc, total, best


@triton.jit
def attend(
    q_ptr,
    k_ptr,
    v_ptr,
    table_ptr,
    prefix_parts_ptr,
    prefix_part_ptr,
    prefix_max_ptr,
    prefix_sum_ptr,
    row,
    kv_head,
    split,
    prefix,
    first,
    last,
    head,
    column,
    in_group,
    q_mask,
    table_width,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    PREFIX_PARTS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The partial softmax of tokens first to last of a row, and of its shared prefix if the part is its first."""
    q_at = q_ptr + row * (HEADS * HEAD_DIM) + head[:, None] * HEAD_DIM + column[None, :]
    q = tl.load(q_at, mask=q_mask, other=0.0)
    best = tl.full([BLOCK_G], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_G], tl.float32)
    acc = tl.zeros([BLOCK_G, BLOCK_D], tl.float32)
    if PREFIX_PARTS > 0:  # noqa: SIM102 - known when it is compiled, unlike the next
        if split == 0 and prefix > 0:
            acc, total, best = add_prefix(
                acc, total, best, prefix_parts_ptr, prefix_part_ptr, prefix_max_ptr, prefix_sum_ptr,
                row, head, column, in_group, q_mask, HEADS, HEAD_DIM, PREFIX_PARTS,
            )  # fmt: skip
    return read_tokens(
        acc, total, best, q, k_ptr, v_ptr, table_ptr + row * table_width, first, last, kv_head, scale,
        KV_HEADS, HEAD_DIM, PAGE_SIZE, BLOCK_N, BLOCK_D, PRECISION,
    )  # fmt: skip


@triton.jit
def finish_part(
    acc,
    total,
    best,
    out_ptr,
    part_ptr,
    max_ptr,
    sum_ptr,
    done_ptr,
    row,
    kv_head,
    slot,
    split,
    used,
    head,
    column,
    in_group,
    q_mask,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
):
    """Store one of several parts of a row, which begin at this slot; the last that does combines them."""
    at = (slot + split) * HEADS + head  # [BLOCK_G]
    tl.store(part_ptr + at[:, None] * HEAD_DIM + column[None, :], acc, mask=q_mask)
    tl.store(max_ptr + at, best, mask=in_group)
    tl.store(sum_ptr + at, total, mask=in_group)
    # All threads have stored before one of them counts; who counts last sees what all have stored.
    tl.debug_barrier()
    done = tl.atomic_add(done_ptr + row * KV_HEADS + kv_head, 1, sem="acq_rel", scope="gpu")
    if done == used - 1:
        tl.store(done_ptr + row * KV_HEADS + kv_head, 0)  # for the next layer
        best = tl.full(best.shape, float("-inf"), tl.float32)
        total = tl.zeros(total.shape, tl.float32)
        acc = tl.zeros(acc.shape, tl.float32)
        for base in range(0, used, 4):
            for step in tl.static_range(4):  # several loads on their way at once
                at = (slot + base + step) * HEADS + head
                there = base + step < used
                best_2 = tl.load(max_ptr + at, mask=in_group & there, other=float("-inf"))
                total_2 = tl.load(sum_ptr + at, mask=in_group & there, other=0.0)
                acc_2 = tl.load(part_ptr + at[:, None] * HEAD_DIM + column[None, :], mask=q_mask & there, other=0.0)
                acc, total, best = merge(acc, total, best, acc_2, total_2, best_2)
        write_row(out_ptr, row, head, column, q_mask, acc, total, HEADS, HEAD_DIM)


# Called, not copied to its place: the parts that every batch has are compiled as if there were no others.
@triton.jit(noinline=True)
def read_extra_parts(
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
    BLOCK_G: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Take parts of long rows from the queue until none is left."""
    GROUP: tl.constexpr = HEADS // KV_HEADS
    member = tl.arange(0, BLOCK_G)
    column = tl.arange(0, BLOCK_D)
    in_head = column < HEAD_DIM
    in_group = member < GROUP
    q_mask = in_group[:, None] & in_head[None, :]
    extra = tl.load(found_ptr) * KV_HEADS
    long_part = tl.load(found_ptr + 2)
    rows = tl.num_programs(0)
    queue_ptr = done_ptr + rows * KV_HEADS
    taken = tl.atomic_add(queue_ptr, 1, sem="relaxed", scope="gpu")
    while taken < extra:
        row = tl.load(found_ptr + WORDS + rows + taken // KV_HEADS).to(tl.int64)
        kv_head = taken % KV_HEADS
        before = tl.load(found_ptr + WORDS + row)
        split = taken // KV_HEADS - before
        length = tl.load(lengths_ptr + row)
        prefix = 0
        if PREFIX_PARTS > 0:
            prefix = tl.load(prefix_lengths_ptr + row)
        first = prefix + split * long_part
        last = tl.minimum(first + long_part, length)
        head = kv_head * GROUP + member
        acc, total, best = attend(
            q_ptr, k_ptr, v_ptr, table_ptr, prefix_parts_ptr, prefix_part_ptr, prefix_max_ptr, prefix_sum_ptr,
            row, kv_head, split, prefix, first, last, head, column, in_group, q_mask, table_width, scale,
            HEADS, KV_HEADS, HEAD_DIM, PAGE_SIZE, PREFIX_PARTS, BLOCK_G, BLOCK_N, BLOCK_D, PRECISION,
        )  # fmt: skip
        # The parts of rows that are not long lie before, where these have more than one.
        slot = (rows * (SPLITS if SPLITS > 1 else 0) + before).to(tl.int64)
        finish_part(
            acc, total, best, out_ptr, part_ptr, max_ptr, sum_ptr, done_ptr,
            row, kv_head, slot, split, tl.cdiv(length - prefix, long_part), head, column, in_group, q_mask,
            HEADS, KV_HEADS, HEAD_DIM,
        )  # fmt: skip
        taken = tl.atomic_add(queue_ptr, 1, sem="relaxed", scope="gpu")
    if taken == extra + rows * KV_HEADS * SPLITS - 1:  # each program asks in vain once
        tl.store(queue_ptr, 0)
