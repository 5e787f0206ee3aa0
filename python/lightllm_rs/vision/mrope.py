"""Rotary positions of three axes (M-RoPE): time, row, column.

The tokens of text count all three on together. A picture's tokens begin where the text before it would go on, at
position p: the one in frame t, row r and column c has (p + t, p + r, p + c); the text after it goes on at
p + max(rows, columns). Source: Qwen2-VL, https://arxiv.org/abs/2409.12191, section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .geometry import Grid

Positions = np.ndarray[Any, np.dtype[np.int64]]


class HasGrid(Protocol):
    """A span: tokens start .. start + tokens of a prompt are a picture of grid (frames, rows, columns)."""

    @property
    def start(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def grid(self) -> Grid: ...


def rope_positions(start: int, count: int, spans: Sequence[HasGrid]) -> Positions:
    """int64 [3, count], of the tokens start .. start + count of a text with `spans`, which are in order."""
    end = start + count
    positions = np.tile(np.arange(start, end, dtype=np.int64), (3, 1))
    offset = 0
    for span in spans:
        first, last = max(span.start, start), min(span.start + span.tokens, end)
        if first < last:
            within = np.arange(first, last, dtype=np.int64) - span.start
            _, rows, columns = span.grid
            axes = within // (rows * columns), within // columns % rows, within % columns
            positions[:, first - start : last - start] = np.stack(axes) + (span.start + offset)
        if last == end:
            break
        offset += advance(span.grid) - span.tokens
        after = max(span.start + span.tokens, start)
        positions[:, after - start :] = np.arange(after, end) + offset
    return positions


def advance(grid: Grid) -> int:
    """Positions that a picture takes."""
    return max(grid[1:])
