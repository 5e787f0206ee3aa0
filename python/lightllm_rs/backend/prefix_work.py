"""Divides the reading of shared prefixes over the programs of the attention kernel. Host arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.plan import Array
from lightllm_rs.kernels.paged_decode_attention.prefixes import ITEM_ROWS, ITEM_WORDS, MOST_PARTS, SharedPrefixes

ITEMS = 64
"""Most items of a step, and as many as its graphs have room for."""

PREFIX_ROWS = 8
"""Batches of fewer decode rows read every prefix row by row: they save less than the further launch costs."""

WANTED_ITEMS = 32
"""Items that keep a large GPU busy: each is as many programs as there are kv heads."""

PART_TOKENS = 256
"""A part is not shorter, if it is not the whole prefix."""

UNIT = 128
"""Parts end at multiples of this or of the page size, whichever is larger, so that tiles lie within pages."""


@dataclass(frozen=True)
class PrefixWork:
    """What the tensors of `SharedPrefixes` hold, as int64 arrays: items [n, ITEM_WORDS], lengths and parts [rows]."""

    items: Array
    lengths: Array
    parts: Array

    def words(self, items: int) -> Array:
        """int64 [prefix_words(rows, items)]; padded to so many items."""
        padding = np.zeros((items - self.items.shape[0]) * ITEM_WORDS, dtype=np.int64)
        return np.concatenate([self.items.reshape(-1), padding, self.lengths, self.parts])


def prefix_words(rows: int, items: int = ITEMS) -> int:
    """Words of the work of a batch of so many rows, with room for so many items."""
    return items * ITEM_WORDS + 2 * rows


def prefixes_of(words: Tensor, rows: int) -> SharedPrefixes:
    """The tensors of `PrefixWork.words`, int64 and on the device."""
    parts = torch.split(words.to(torch.int32), [words.shape[0] - 2 * rows, rows, rows])
    return SharedPrefixes(parts[0].view(-1, ITEM_WORDS), parts[1], parts[2])


def prefix_work(groups: Array, rows: int, page_size: int) -> PrefixWork:
    """The work of groups of decode rows.

    Args:
        groups: int64 [n, 3]; first row, rows, shared pages. No row is in two groups.
        rows: of the batch.

    Where there are more groups than items, those that save least read their prefixes row by row.
    """
    lengths, parts = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    if not groups.size:
        return PrefixWork(np.zeros((0, ITEM_WORDS), dtype=np.int64), lengths, parts)
    saved = (groups[:, 1] - 1) * groups[:, 2]
    kept, chunks = [], 0
    for first, count, pages in groups[np.argsort(-saved, kind="stable")].tolist():
        needed = -(-count // ITEM_ROWS)
        if count > 1 and pages and chunks + needed <= ITEMS:
            kept.append((first, count, pages * page_size))
            chunks += needed
    if not chunks:
        return PrefixWork(np.zeros((0, ITEM_WORDS), dtype=np.int64), lengths, parts)
    most = max(1, min(MOST_PARTS, WANTED_ITEMS // chunks))
    unit = -(-UNIT // page_size) * page_size
    items = []
    for first, count, tokens in kept:
        part_tokens = -(-tokens // max(1, min(most, tokens // PART_TOKENS)))
        part_tokens = -(-part_tokens // unit) * unit
        begins = range(0, tokens, part_tokens)
        lengths[first : first + count], parts[first : first + count] = tokens, len(begins)
        for row in range(first, first + count, ITEM_ROWS):
            item_rows = min(ITEM_ROWS, first + count - row)
            items += [
                (row, item_rows, begin, min(begin + part_tokens, tokens), part) for part, begin in enumerate(begins)
            ]
    return PrefixWork(np.array(items, dtype=np.int64), lengths, parts)
