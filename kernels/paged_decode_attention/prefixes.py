"""Which decode rows share the first pages of their tables, and who reads them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_integers, require

ITEM_WORDS = 5
"""Words of one item of work: first row, rows, first token, token after the last, part."""

ITEM_ROWS = 16
"""Most rows of one item."""

MOST_PARTS = 8
"""Most parts that a shared prefix is read in."""


@dataclass(frozen=True)
class SharedPrefixes:
    """What the rows of a decode batch have in common, as tensors whose shapes do not depend on it.

    items: int32 [items, ITEM_WORDS]. An item is a range of tokens that its rows share; they are read by the first
        row's page table. Rows without any prefix are in no item, rows with one are in items of their parts 0, 1, ...,
        which cover the prefix. Items of 0 rows are padding.
    lengths: int32 [rows], tokens of each row's shared prefix, 0 without. Every row holds more tokens than these.
    parts: int32 [rows], parts of each row's prefix.
    item_rows, most_parts: no item has more rows, and no prefix more parts.
    """

    items: Tensor
    lengths: Tensor
    parts: Tensor
    item_rows: int = ITEM_ROWS
    most_parts: int = MOST_PARTS

    def check(self, rows: int, device: torch.device) -> None:
        """Raises ValueError unless the shapes fit a batch of `rows` rows."""
        check_integers(torch.int32, device, items=self.items, lengths=self.lengths, parts=self.parts)
        require(self.items.dim() == 2 and self.items.shape[1] == ITEM_WORDS, "items must be [items, 5]")
        require(self.lengths.shape == (rows,) == self.parts.shape, "lengths and parts must be [rows]")
