"""What one program of the skinny kernel takes on. No Triton here: a layer asks before it launches anything."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

# Beyond, the library is faster, as far as that is measured.
MOST_ROWS = 4
MOST_FP8_ROWS = 2


class Tile(NamedTuple):
    """`outputs` by `inputs` weights a step of the loop; a thread loads `chunk` of them (16 bytes) at once."""

    outputs: int
    inputs: int
    chunk: int
    warps: int


def most_rows(weight: Tensor) -> int:
    """Rows up to which the kernel is the faster way."""
    return MOST_ROWS if weight.element_size() > 1 else MOST_FP8_ROWS


def tile(rows: int, inputs: int, element_bytes: int) -> Tile:
    """For 1, 2, 4 or 8 rows of `inputs` values: the best, or nearly so, for each layer of an 8B model on an H100."""
    chunk = 16 // element_bytes
    whole = 1 << max(0, inputs - 1).bit_length()
    outputs, steps, warps = (2, 1, 4) if rows > 4 else (4, 2, 2) if rows > 2 or chunk == 16 else (4, 2, 4)
    if rows == 1 and chunk == 8:
        outputs, steps, warps = 4, 1, 8
    warps = max(1, min(warps, whole // (32 * chunk)))
    return Tile(outputs, min(max(whole, chunk), 32 * chunk * warps * steps), chunk, warps)
