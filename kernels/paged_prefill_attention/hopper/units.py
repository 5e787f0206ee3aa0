"""Which work a program has, and in what order."""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def plus(a, b):
    return a + b


@gluon.jit
def blocks_of(starts_ptr, rows, TOKENS: gl.constexpr, BLOCK_R: gl.constexpr, WARPS: gl.constexpr):
    """(rows' indices, first tokens, ends, blocks up to each row's last): every warp holds all of them."""
    layout: gl.constexpr = gl.BlockedLayout([BLOCK_R // 32], [32], [WARPS], [0])
    index = gl.arange(0, BLOCK_R, layout=layout)
    begins = gl.load(starts_ptr + index, mask=index < rows, other=0)
    ends = gl.load(starts_ptr + index + 1, mask=index < rows, other=0)
    return index, begins, ends, gl.associative_scan((ends - begins + TOKENS - 1) // TOKENS, 0, plus)


@gluon.jit
def turns_of(
    starts_ptr, rows, KV_HEADS: gl.constexpr, TOKENS: gl.constexpr, BLOCK_R: gl.constexpr, WARPS: gl.constexpr
):
    """(units of all rows, turns of a program)."""
    _, _, _, upto = blocks_of(starts_ptr, rows, TOKENS, BLOCK_R, WARPS)
    units = gl.max(upto, axis=0) * KV_HEADS
    return units, (units + gl.num_programs(0) - 1) // gl.num_programs(0)


@gluon.jit
def unit_of(
    turn,
    starts_ptr,
    lengths_ptr,
    rows,
    KV_HEADS: gl.constexpr,
    TOKENS: gl.constexpr,
    BLOCK_R: gl.constexpr,
    WARPS: gl.constexpr,
):
    """(unit, kv head, row, block's first new token of the row, row's first token in q, new tokens, length).

    Rows come in their order, the blocks of a row from the last one back: what comes late has the longest way to go.
    """
    seats = gl.num_programs(0)
    unit = turn * seats + gl.where(turn % 2 == 0, gl.program_id(0), seats - 1 - gl.program_id(0))
    block = unit // KV_HEADS
    index, begins, ends, upto = blocks_of(starts_ptr, rows, TOKENS, BLOCK_R, WARPS)
    lengths = gl.load(lengths_ptr + index, mask=index < rows, other=0)
    row = gl.sum((upto <= block).to(gl.int32), axis=0)
    mine = index == row
    last = gl.sum(gl.where(mine, upto, 0), axis=0)
    begin = gl.sum(gl.where(mine, begins, 0), axis=0)
    new = gl.sum(gl.where(mine, ends, 0), axis=0) - begin
    length = gl.sum(gl.where(mine, lengths, 0), axis=0)
    return unit, unit % KV_HEADS, row, (last - 1 - block) * TOKENS, begin, new, length
