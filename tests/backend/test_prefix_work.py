"""The division of shared prefixes covers each of them once for each of its rows, within the items there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightllm_rs.backend.prefix_work import ITEMS, prefix_words, prefix_work, prefixes_of
from lightllm_rs.kernels.paged_decode_attention.prefixes import ITEM_ROWS, MOST_PARTS

GROUPS = [
    [],
    [(0, 4, 192)],
    [(2, 64, 1), (66, 5, 1000), (80, 40, 3)],
    [(4 * index, 4, 10 + index) for index in range(70)],
    [(0, 300, 512)],
    [(0, 1, 9), (1, 2, 0), (3, 2, 1)],
]


@pytest.mark.parametrize("page_size", [1, 16, 48, 256])
@pytest.mark.parametrize("groups", GROUPS, ids=len)
def test_prefixes_are_covered(groups: list[tuple[int, int, int]], page_size: int) -> None:
    rows = 310
    work = prefix_work(np.array(groups, dtype=np.int64).reshape(-1, 3), rows, page_size)
    assert len(work.items) <= ITEMS
    assert work.parts.max() <= MOST_PARTS
    covered: dict[int, list[tuple[int, int, int]]] = {row: [] for row in range(rows)}
    for first, count, begin, end, part in work.items.tolist():
        assert 0 < count <= ITEM_ROWS
        assert begin % page_size == 0
        assert begin % 64 == 0 or page_size < 64
        for row in range(first, first + count):
            covered[row].append((begin, end, part))
    allowed = {row: {0, pages * page_size} for first, count, pages in groups for row in range(first, first + count)}
    for row, parts in covered.items():
        parts.sort()
        assert [part for _, _, part in parts] == list(range(work.parts[row]))
        ends = [0, *(end for _, end, _ in parts)]
        assert [begin for begin, _, _ in parts] == ends[:-1]
        assert ends[-1] == work.lengths[row]
        assert work.lengths[row] in allowed.get(row, {0})


def test_what_saves_most_is_kept() -> None:
    groups = np.array([(4 * index, 4, 10 + index) for index in range(ITEMS + 6)], dtype=np.int64)
    lengths = prefix_work(groups, 4 * len(groups), 16).lengths
    assert not lengths[: 4 * 6].any()
    assert lengths[4 * 6 :].all()


def test_words_are_read_back() -> None:
    work = prefix_work(np.array([(1, 3, 40)], dtype=np.int64), 5, 16)
    words = torch.from_numpy(work.words(ITEMS))
    assert words.shape == (prefix_words(5),)
    prefixes = prefixes_of(words, 5)
    prefixes.check(5, torch.device("cpu"))
    assert prefixes.items[: len(work.items)].tolist() == work.items.tolist()
    assert not prefixes.items[len(work.items) :].any()
    assert (prefixes.lengths.tolist(), prefixes.parts.tolist()) == (work.lengths.tolist(), work.parts.tolist())
