"""Where the ranks' kernels leave their rows for each other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

TURNS = 3
"""Boxes and flags that a rank has. A call needs another turn than the call before it on the same stream had."""

PROGRAMS = 128
"""Most programs of one call: fewer than any GPU that has peers runs at once, because they wait for each other."""


@dataclass(frozen=True)
class Mailbox:
    """Memory of all ranks as one rank sees it; every rank's is laid out alike and begins with zeros in its flags.

    A rank's memory is `TURNS` boxes [world, rows, size], with a place for each sender's rows, and from the next
    multiple of 16 bytes on `TURNS` times flags int32 [PROGRAMS, world].

    Attributes:
        rank, world: of the tensor parallel group.
        rows: most rows of a call.
        size: elements of a row.
        bases: int64 [world] on the rank's device; the address of each rank's memory.
    """

    rank: int
    world: int
    rows: int
    size: int
    bases: Tensor

    def flags_at(self, element: int) -> int:
        """Bytes before the flags, for elements of `element` bytes."""
        return boxes_bytes(self.world, self.rows, self.size, element)

    @staticmethod
    def bytes(world: int, rows: int, size: int, element: int) -> int:
        """Memory that each rank gives."""
        return boxes_bytes(world, rows, size, element) + TURNS * PROGRAMS * world * 4


def boxes_bytes(world: int, rows: int, size: int, element: int) -> int:
    """Bytes of all boxes of a rank, up to the flags."""
    return -(-TURNS * world * rows * size * element // 16) * 16
