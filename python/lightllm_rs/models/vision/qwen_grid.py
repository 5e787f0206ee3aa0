"""What the tower must know of a picture's grid: order of patches, their rows and columns, windows. Host arrays only.

Patches come in the order of the image processor: token by token, and of each token its merge by merge patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class PatchGrid:
    """rows, columns: of each of N patches, in the order in which the tower computes. int64 [N].

    order: int64 [N / merge^2], the tokens in that order; None: they are as they come.
    windows: patches of each window, () without windows.
    """

    rows: Array
    columns: Array
    order: Array | None
    windows: tuple[int, ...]


@lru_cache(maxsize=32)  # a large picture takes a megabyte
def patch_grid(rows: int, columns: int, merge: int, window: int) -> PatchGrid:
    """Of a picture of `rows` by `columns` tokens; `window`: side of a window of attention in tokens, 0: there are none.

    The windows begin at the top left; those at the right and at the bottom may be smaller. The largest come first, as
    neighbours of the same size are computed together where attention does not take many sizes at once.
    """
    token_rows, token_columns = (axis.reshape(-1) for axis in np.indices((rows, columns)))
    order, windows = None, ()
    if window:
        of_window = token_rows // window * -(-columns // window) + token_columns // window
        sizes = np.bincount(of_window)
        largest_first = np.argsort(-sizes, kind="stable")
        order = np.argsort(np.argsort(largest_first)[of_window], kind="stable").astype(np.int64)
        windows = tuple((sizes[largest_first] * merge * merge).tolist())
        token_rows, token_columns = token_rows[order], token_columns[order]
    inner_rows, inner_columns = (axis.reshape(-1) for axis in np.indices((merge, merge)))
    return PatchGrid(
        rows=(token_rows[:, None] * merge + inner_rows).reshape(-1),
        columns=(token_columns[:, None] * merge + inner_columns).reshape(-1),
        order=order,
        windows=windows,
    )


def interpolated(positions: Array, size: int, side: int) -> tuple[Array, Array]:
    """Where `positions` (int64 [N], below `size`) fall in a table of `side` entries that is stretched over them, ends
    on ends: the two entries around each (int64 [N, 2]), and their weights (float32 [N, 2])."""
    at = positions.astype(np.float32) * np.float32(side - 1) / np.float32(max(size - 1, 1))
    low = np.floor(at)
    second = at - low
    entries = np.stack([low, np.minimum(low + 1, side - 1)], axis=1).astype(np.int64)
    return entries, np.stack([1 - second, second], axis=1).astype(np.float32)
