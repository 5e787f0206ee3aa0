"""A warpgroup that computes: the online softmax of 64 queries of each unit."""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from .units import turns_of, unit_of


@gluon.jit
def zero_past(values, first, length, BLOCK_N: gl.constexpr, HEAD_DIM: gl.constexpr):
    """Values past the row's end become zeros: what lies there may be NaN, and 0 * NaN is NaN.

    Each warpgroup does it for itself, before it reads: they write the same.
    """
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // HEAD_DIM, HEAD_DIM // 8], [4, 1], [1, 0])
    CHUNK: gl.constexpr = 32
    for c in gl.static_range(BLOCK_N // CHUNK):
        if first + (c + 1) * CHUNK > length:
            part = values.slice(c * CHUNK, CHUNK)
            token = first + c * CHUNK + gl.arange(0, CHUNK, layout=gl.SliceLayout(1, layout))
            part.store(gl.where(gl.expand_dims(token < length, 1), part.load(layout), 0.0))
    fence_async_shared()
    gl.thread_barrier()


@gluon.jit
def issue_scores(at, q, k_tiles, STAGES: gl.constexpr, LAYOUT: gl.constexpr):
    """Scores of tile `at`, in flight."""
    keys = k_tiles.index(at % STAGES)
    BLOCK_N: gl.constexpr = k_tiles.shape[1]
    nothing = gl.zeros([64, BLOCK_N], gl.float32, LAYOUT)
    return warpgroup_mma(q, keys.permute((1, 0)), nothing, use_acc=False, is_async=True)


@gluon.jit
def await_keys(at, k_ready, there, STAGES: gl.constexpr):
    mbarrier.wait(k_ready.index(at % STAGES), at // STAGES & 1, pred=there)


@gluon.jit
def masked(scores, first, position, LAYOUT: gl.constexpr):
    BLOCK_N: gl.constexpr = scores.shape[1]
    token = first + gl.arange(0, BLOCK_N, layout=gl.SliceLayout(0, LAYOUT))
    return gl.where(gl.expand_dims(token, 0) <= gl.expand_dims(position, 1), scores, float("-inf"))


@gluon.jit
def step(
    state,
    tiles,
    bars,
    q,
    at,
    first,
    position,
    more,
    scale,
    MASKED: gl.constexpr,
    STAGES: gl.constexpr,
    S_LAYOUT: gl.constexpr,
    O_LAYOUT: gl.constexpr,
    P_LAYOUT: gl.constexpr,
):
    """One step of the online softmax in powers of two: scores of tile `at`, sums over the values of the tile before."""
    acc, weights, best, total = state
    k_tiles, v_tiles = tiles
    k_ready, k_free, v_ready, v_free = bars
    before = (at - 1) % STAGES
    scores = issue_scores(at, q, k_tiles, STAGES, S_LAYOUT)
    mbarrier.wait(v_ready.index(before), (at - 1) // STAGES & 1)
    acc = warpgroup_mma(weights, v_tiles.index(before), acc, is_async=True)
    scores = warpgroup_mma_wait(1, deps=[scores])
    mbarrier.arrive(k_free.index(at % STAGES), count=1)
    if MASKED:
        scores = masked(scores, first, position, S_LAYOUT)
    higher = gl.maximum(best, gl.max(scores, axis=1) * scale)
    raised = gl.exp2(scores * scale - gl.expand_dims(higher, 1))
    fade = gl.exp2(best - higher)
    total = total * fade + gl.sum(raised, axis=1)
    later = gl.convert_layout(raised.to(v_tiles.dtype), P_LAYOUT)
    # The next tile's keys are awaited here and not where they are used: this loop stands between the exponentials and
    # the wait for the sums, which ptxas would else move up, before the exponentials.
    await_keys(at + 1, k_ready, more, STAGES)
    acc, weights = warpgroup_mma_wait(0, deps=[acc, weights])
    mbarrier.arrive(v_free.index(before), count=1)
    acc = acc * gl.expand_dims(gl.convert_layout(fade, gl.SliceLayout(1, O_LAYOUT)), 1)
    return acc, later, higher, total


@gluon.jit
def consumer(
    out_ptr,
    starts_ptr,
    lengths_ptr,
    rows,
    scale,
    q_tiles,
    tiles,
    q_bars,
    bars,
    WARPGROUP: gl.constexpr,
    CONSUMERS: gl.constexpr,
    HEADS: gl.constexpr,
    KV_HEADS: gl.constexpr,
    HEAD_DIM: gl.constexpr,
    PACK: gl.constexpr,
    BLOCK_N: gl.constexpr,
    BLOCK_R: gl.constexpr,
    STAGES: gl.constexpr,
):
    """Attention of 64 of each unit's queries: those of a head one after the other."""
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, HEAD_DIM, 16])
    P_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 2)
    OUT_LAYOUT: gl.constexpr = gl.BlockedLayout([1, 8], [256 // HEAD_DIM, HEAD_DIM // 8], [4, 1], [1, 0])
    EACH: gl.constexpr = 64 // PACK
    k_tiles, v_tiles = tiles
    k_ready, k_free, v_ready, v_free = bars
    q_ready, q_free = q_bars
    units, rounds = turns_of(starts_ptr, rows, KV_HEADS, CONSUMERS * EACH, BLOCK_R, 4)
    ran = 0  # tiles of the units before
    for turn in range(rounds):
        unit, kv_head, _, member, begin, new, length = unit_of(
            turn, starts_ptr, lengths_ptr, rows, KV_HEADS, CONSUMERS * EACH, BLOCK_R, 4
        )
        if unit < units:
            cached = length - new
            stop = gl.minimum(cached + member + CONSUMERS * EACH, length)
            count = (stop + BLOCK_N - 1) // BLOCK_N
            member += WARPGROUP * EACH
            # Every token of the warpgroup sees all of the tiles before open_end.
            open_end = gl.minimum(gl.maximum((cached + member + 1) // BLOCK_N, 1), count)
            place = gl.arange(0, 64, layout=gl.SliceLayout(1, S_LAYOUT))
            position = gl.minimum(cached + member + place % EACH, length - 1)
            q = q_tiles.index(turn % 2 * CONSUMERS + WARPGROUP)
            mbarrier.wait(q_ready.index(turn % 2), turn // 2 & 1)

            await_keys(ran, k_ready, True, STAGES)
            scores = issue_scores(ran, q, k_tiles, STAGES, S_LAYOUT)
            scores = warpgroup_mma_wait(0, deps=[scores])
            mbarrier.arrive(k_free.index(ran % STAGES), count=1)
            scores = masked(scores, 0, position, S_LAYOUT)
            best = gl.max(scores, axis=1) * scale
            raised = gl.exp2(scores * scale - gl.expand_dims(best, 1))
            total = gl.sum(raised, axis=1)
            weights = gl.convert_layout(raised.to(v_tiles.dtype), P_LAYOUT)
            acc = gl.zeros([64, HEAD_DIM], gl.float32, O_LAYOUT)
            await_keys(ran + 1, k_ready, count > 1, STAGES)
            for tile in range(1, open_end):
                acc, weights, best, total = step(
                    (acc, weights, best, total),
                    tiles,
                    bars,
                    q,
                    ran + tile,
                    0,
                    position,
                    tile + 1 < count,
                    scale,
                    False,
                    STAGES,
                    S_LAYOUT,
                    O_LAYOUT,
                    P_LAYOUT,
                )
            for tile in range(open_end, count):
                acc, weights, best, total = step(
                    (acc, weights, best, total),
                    tiles,
                    bars,
                    q,
                    ran + tile,
                    tile * BLOCK_N,
                    position,
                    tile + 1 < count,
                    scale,
                    True,
                    STAGES,
                    S_LAYOUT,
                    O_LAYOUT,
                    P_LAYOUT,
                )
            ran += count
            slot = (ran - 1) % STAGES
            mbarrier.wait(v_ready.index(slot), (ran - 1) // STAGES & 1)
            if count * BLOCK_N > length:
                zero_past(v_tiles.index(slot), (count - 1) * BLOCK_N, length, BLOCK_N, HEAD_DIM)
            acc = warpgroup_mma(weights, v_tiles.index(slot), acc, is_async=True)
            acc, weights = warpgroup_mma_wait(0, deps=[acc, weights])
            mbarrier.arrive(v_free.index(slot), count=1)

            # By way of the queries' memory, so that whole lines are written.
            y = acc / gl.expand_dims(gl.convert_layout(total, gl.SliceLayout(1, O_LAYOUT)), 1)
            q.store(y.to(v_tiles.dtype))
            line = gl.arange(0, 64, layout=gl.SliceLayout(1, OUT_LAYOUT))
            column = gl.arange(0, HEAD_DIM, layout=gl.SliceLayout(0, OUT_LAYOUT))
            base = (begin + member).to(gl.int64) * (HEADS * HEAD_DIM) + kv_head * (PACK * HEAD_DIM)
            at = gl.expand_dims(line % EACH * (HEADS * HEAD_DIM) + line // EACH * HEAD_DIM, 1) + gl.expand_dims(
                column, 0
            )
            mask = gl.expand_dims(line % EACH < new - member, 1) & (gl.expand_dims(column, 0) < HEAD_DIM)
            gl.store(out_ptr + base + at, q.load(OUT_LAYOUT), mask=mask)
            fence_async_shared()
            gl.thread_barrier()
            mbarrier.arrive(q_free.index(turn % 2), count=1)
