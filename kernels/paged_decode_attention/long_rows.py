"""Which decode rows are so long that they are cut into more parts than the others, in Triton.

A batch is done when its longest row is. So rows that are far longer than the mean are cut into small parts, called
extra, which are read by whichever programs are done first.

What is found is one tensor, int32: [extra parts, tokens from which on a row is long, tokens of a part of a long row,
extra parts before each row's, row of each extra part]; where there are none, the rest is not written. Its size follows
from shapes alone.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..dependent_launch import dependent_launch, start_next, wait_previous
from .prefixes import SharedPrefixes

WORDS = tl.constexpr(3)
"""Words before those of the rows."""

LONG_PERCENT = 150
"""A row is long from so much of the mean on."""

MIN_PART = 256
"""A part shorter than this is not worth its share of the combination. Rows of as many tokens are never long."""

PARTS_A_PROGRAM = 4
MAX_PARTS = 512
"""A part is so long that the tokens of all rows would make no more than so many for each part of a row, and in all."""


@triton.jit
def own_tokens(lengths_ptr, prefix_lengths_ptr, row, rows, PREFIXES: tl.constexpr):
    """Tokens of each row behind its shared prefix; 0 past the last row."""
    own = tl.load(lengths_ptr + row, mask=row < rows, other=0)
    if PREFIXES:
        own -= tl.load(prefix_lengths_ptr + row, mask=row < rows, other=0)
    return own


# Nothing but what there always is, or never: steps of all sizes run the same two compiled kernels.
@triton.jit(
    do_not_specialize=["rows", "splits", "most", "tile", "counters"],
    do_not_specialize_on_alignment=["lengths_ptr", "prefix_lengths_ptr"],
)
def long_rows_kernel(
    lengths_ptr,
    prefix_lengths_ptr,
    found_ptr,
    counters_ptr,
    rows,
    splits,
    most,
    tile,
    counters,
    PREFIXES: tl.constexpr,
    PERCENT: tl.constexpr,
    MIN_TOKENS: tl.constexpr,
    BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    start_next(PDL)
    wait_previous(PDL)
    tokens = tl.sum(tl.zeros([BLOCK], tl.int64), axis=0)
    longest, filled = 0, 0
    for start in range(0, rows, BLOCK):
        own = own_tokens(lengths_ptr, prefix_lengths_ptr, start + tl.arange(0, BLOCK), rows, PREFIXES)
        tokens += tl.sum(own.to(tl.int64), axis=0)
        longest = tl.maximum(longest, tl.max(own, axis=0))
        filled += tl.sum((own > 1).to(tl.int32), axis=0)  # a padding row has one token
    for start in range(0, counters, BLOCK):
        at = start + tl.arange(0, BLOCK)
        tl.store(counters_ptr + at, tl.zeros([BLOCK], tl.int32), mask=at < counters)
    part = tl.cdiv(tl.maximum(tl.cdiv(tokens, most), MIN_TOKENS), tile) * tile
    shares = tl.maximum(filled, 1).to(tl.int64) * splits
    limit = tl.maximum(part, tl.cdiv(tokens * PERCENT, shares * 100)) * splits
    extra = 0
    if longest > limit:
        for start in range(0, rows, BLOCK):
            row = start + tl.arange(0, BLOCK)
            own = own_tokens(lengths_ptr, prefix_lengths_ptr, row, rows, PREFIXES)
            count = tl.where(own > limit, tl.cdiv(own, part), 0).to(tl.int32)
            before = extra + tl.cumsum(count, axis=0) - count
            tl.store(found_ptr + WORDS + row, before, mask=row < rows)
            for index in range(tl.max(count, axis=0)):
                tl.store(found_ptr + WORDS + rows + before + index, row, mask=index < count)
            extra += tl.sum(count, axis=0)
    tl.store(found_ptr, extra)
    tl.store(found_ptr + 1, limit.to(tl.int32))
    tl.store(found_ptr + 2, part.to(tl.int32))


def most_parts(rows: int, splits: int) -> int:
    """Parts that the tokens of all rows would make, at most."""
    return min(PARTS_A_PROGRAM * rows * splits, MAX_PARTS)


def room_for(rows: int, splits: int) -> int:
    """Extra parts that there is room for: of each long row, which has more than `splits` whole parts, one is not."""
    most = most_parts(rows, splits)
    return most + most // splits


def long_rows(
    lengths: Tensor,
    prefixes: SharedPrefixes | None,
    splits: int,
    tile: int,
    counters: int,
    shared: dict[str, Any] | None,
) -> tuple[Tensor, Tensor]:
    """What is found, and so many counters at zero, the same in all layers of a step. tile: tokens of which every part
    is a multiple.
    """
    if shared is not None and "decode long rows" in shared:
        return shared["decode long rows"], shared["decode counters"]
    rows = lengths.shape[0]
    size = WORDS.value + rows + room_for(rows, splits)
    found, zeroed = (torch.empty(n, dtype=torch.int32, device=lengths.device) for n in (size, counters))
    long_rows_kernel[(1,)](
        lengths,
        lengths if prefixes is None else prefixes.lengths,
        found,
        zeroed,
        rows,
        splits,
        most_parts(rows, splits),
        tile,
        counters,
        PREFIXES=prefixes is not None,
        PERCENT=LONG_PERCENT,
        MIN_TOKENS=MIN_PART,
        BLOCK=1024,
        num_warps=8,
        **dependent_launch(lengths),
    )
    if shared is not None:
        shared["decode long rows"], shared["decode counters"] = found, zeroed
    return found, zeroed


def zeros(size: int, shared: dict[str, Any] | None, device: torch.device) -> Tensor:
    """Counters, int32 [size], that every call leaves as zeros: one tensor does for all layers of a step."""
    found: Tensor | None = None if shared is None else shared.get("decode counters")
    if found is None:
        found = torch.zeros(size, dtype=torch.int32, device=device)
        if shared is not None:
            shared["decode counters"] = found
    return found
