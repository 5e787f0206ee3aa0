"""The warp that loads: queries a unit ahead, keys and values as memory becomes free."""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma

from .units import turns_of, unit_of


@gluon.jit
def load_tile(source, line, other_line, column, ready, tile, PAGE_SIZE: gl.constexpr, BYTES: gl.constexpr):
    """One or two pages into a tile."""
    mbarrier.expect(ready, BYTES)
    tma.async_copy_global_to_shared(source, [line, column], ready, tile.slice(0, PAGE_SIZE))
    if tile.shape[0] == 2 * PAGE_SIZE:
        tma.async_copy_global_to_shared(source, [other_line, column], ready, tile.slice(PAGE_SIZE, PAGE_SIZE))


@gluon.jit
def producer(
    q_source,
    k_source,
    v_source,
    table_ptr,
    starts_ptr,
    lengths_ptr,
    table_width,
    rows,
    q_tiles,
    tiles,
    q_bars,
    bars,
    CONSUMERS: gl.constexpr,
    KV_HEADS: gl.constexpr,
    HEAD_DIM: gl.constexpr,
    PAGE_SIZE: gl.constexpr,
    PACK: gl.constexpr,
    BLOCK_N: gl.constexpr,
    BLOCK_R: gl.constexpr,
    STAGES: gl.constexpr,
):
    """Loads what the consumers of the same units need, as memory becomes free."""
    EACH: gl.constexpr = 64 // PACK
    PAGES: gl.constexpr = BLOCK_N // PAGE_SIZE
    BYTES: gl.constexpr = HEAD_DIM * 2
    k_tiles, v_tiles = tiles
    k_ready, k_free, v_ready, v_free = bars
    q_ready, q_free = q_bars
    units, rounds = turns_of(starts_ptr, rows, KV_HEADS, CONSUMERS * EACH, BLOCK_R, 1)
    at = 0
    for turn in range(rounds):
        unit, kv_head, row, member, begin, new, length = unit_of(
            turn, starts_ptr, lengths_ptr, rows, KV_HEADS, CONSUMERS * EACH, BLOCK_R, 1
        )
        if unit < units:
            half = turn % 2
            mbarrier.wait(q_free.index(half), (turn // 2 & 1) ^ 1)
            mbarrier.expect(q_ready.index(half), CONSUMERS * 64 * BYTES)
            for group in gl.static_range(CONSUMERS):
                for head in gl.static_range(PACK):
                    tma.async_copy_global_to_shared(
                        q_source,
                        [begin + member + group * EACH, (kv_head * PACK + head) * HEAD_DIM],
                        q_ready.index(half),
                        q_tiles.index(half * CONSUMERS + group).slice(head * EACH, EACH),
                    )
            table = table_ptr + row.to(gl.int64) * table_width
            last = (length - 1) // PAGE_SIZE
            column = kv_head * HEAD_DIM
            # Page numbers are read a tile ahead. Past the row's end its last page stands in: those scores are masked.
            line = gl.load(table) * PAGE_SIZE
            other_line = gl.load(table + gl.minimum(PAGES - 1, last)) * PAGE_SIZE
            stop = gl.minimum(length - new + member + CONSUMERS * EACH, length)
            for tile in range((stop + BLOCK_N - 1) // BLOCK_N):
                slot, free = at % STAGES, (at // STAGES & 1) ^ 1
                mbarrier.wait(k_free.index(slot), free)
                load_tile(
                    k_source,
                    line,
                    other_line,
                    column,
                    k_ready.index(slot),
                    k_tiles.index(slot),
                    PAGE_SIZE,
                    BLOCK_N * BYTES,
                )
                next_line = gl.load(table + gl.minimum((tile + 1) * PAGES, last)) * PAGE_SIZE
                other_next = gl.load(table + gl.minimum((tile + 2) * PAGES - 1, last)) * PAGE_SIZE
                mbarrier.wait(v_free.index(slot), free)
                load_tile(
                    v_source,
                    line,
                    other_line,
                    column,
                    v_ready.index(slot),
                    v_tiles.index(slot),
                    PAGE_SIZE,
                    BLOCK_N * BYTES,
                )
                line, other_line = next_line, other_next
                at += 1
