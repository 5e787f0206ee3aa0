"""What one program of the skinny kernel takes on. No Triton here: a layer asks before it launches anything."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

# Beyond, the library is faster, as far as that is measured.
MOST_ROWS = 0


class Tile(NamedTuple):
    """`outputs` by `inputs` weights a step of the loop; a thread loads `chunk` of them (16 bytes) at once."""

    outputs: int
    inputs: int
    chunk: int
    warps: int


def most_rows(weight: Tensor) -> int:
    """Rows up to which the kernel is the faster way."""
    return MOST_ROWS


def tile(rows: int, inputs: int, element_bytes: int) -> Tile:
    """For 1, 2, 4 or 8 rows of `inputs` values."""
    chunk = 16 // element_bytes
    whole = 1 << max(0, inputs - 1).bit_length()
    warps = max(1, min(4, whole // (32 * chunk)))
    outputs = (8 if rows <= 2 else 16 // rows) // (2 if element_bytes == 1 else 1)  # as many as registers hold
    return Tile(max(2, outputs), min(max(whole, chunk), 32 * chunk * warps), chunk, warps)
