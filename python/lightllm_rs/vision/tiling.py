"""How pictures are cut into tiles: LLaVA-NeXT's choice among given resolutions, InternVL's among aspect ratios.

All arithmetic is that of transformers' image processors, in its order, since a rounding more is a token more. Sizes are
in pixels; widths go before heights, but in `pinpoints`, which are (height, width) as in the config files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache


def best_pinpoint(width: int, height: int, pinpoints: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The (height, width) that keeps most pixels of a picture, then wastes least of its own; the first of equals.

    Source: Liu et al., LLaVA-NeXT, 2024 (`select_best_resolution` in its code).
    """
    best, kept, wasted = pinpoints[0], -1, math.inf
    for high, wide in pinpoints:
        scale = min(wide / width, high / height)
        effective = min(int(width * scale) * int(height * scale), width * height)
        waste = wide * high - effective
        if effective > kept or (effective == kept and waste < wasted):
            best, kept, wasted = (high, wide), effective, waste
    return best


def unpadded(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """(columns, rows) of patches that remain of a grid when those are dropped that hold only the padding which fits a
    picture of width x height into it. Thin pictures may leave nothing."""
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), 7))
        rows -= 2 * ((rows - kept) // 2)
    else:
        kept = int(round(width * (rows / height), 7))
        columns -= 2 * ((columns - kept) // 2)
    return columns, rows


@lru_cache(maxsize=16)
def tile_grids(low: int, high: int) -> tuple[tuple[int, int], ...]:
    """All (columns, rows) of `low` to `high` tiles, fewest tiles first, then fewest columns."""
    sides = range(1, high + 1)
    grids = ((columns, rows) for columns in sides for rows in sides if low <= columns * rows <= high)
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))


def closest_grid(width: int, height: int, tile: int, low: int, high: int) -> tuple[int, int]:
    """(columns, rows) of square tiles whose aspect ratio is nearest to the picture's; of equally near ones the larger,
    unless more than half of it would be magnification.

    Source: Chen et al., InternVL 1.5, 2024 (`find_closest_aspect_ratio` in its code).
    """
    ratio, area = width / height, width * height
    best, nearest = (1, 1), math.inf
    for columns, rows in tile_grids(low, high):
        distance = abs(ratio - columns / rows)
        if distance < nearest or (distance == nearest and area > 0.5 * tile * tile * columns * rows):
            best, nearest = (columns, rows), distance
    return best
