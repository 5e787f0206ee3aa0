"""The block of features that stay on the device: what is in it is whole, and the oldest goes first."""

from __future__ import annotations

import random

import pytest
import torch

from lightllm_rs.backend.feature_ring import RING_BYTES, FeatureRing

WIDTH = 4
ROW_BYTES = WIDTH * 2
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def ring_of(rows: int, device: str = "cpu") -> FeatureRing:
    return FeatureRing(rows * ROW_BYTES + ROW_BYTES - 1, WIDTH, torch.bfloat16, torch.device(device))


def features(value: int, rows: int, device: str = "cpu") -> torch.Tensor:
    return torch.full((rows, WIDTH), float(value), dtype=torch.bfloat16, device=device)


def kept(ring: FeatureRing, names: str) -> str:
    return "".join(name for name in names if ring.take(name.encode()) is not None)


def keep(ring: FeatureRing, names: str, rows: int) -> None:
    for name in names:
        ring.keep(name.encode(), features(ord(name), rows))


def test_what_is_taken_is_a_copy() -> None:
    ring = ring_of(4)
    keep(ring, "a", 3)
    taken = ring.take(b"a")
    assert taken is not None
    keep(ring, "b", 3)  # over it
    assert torch.equal(taken, features(ord("a"), 3))
    taken.zero_()
    again = ring.take(b"b")
    assert again is not None
    again.zero_()
    assert torch.equal(ring.take(b"b"), features(ord("b"), 3))  # type: ignore[arg-type]
    assert ring.take(b"a") is None


def test_the_oldest_go_first() -> None:
    ring = ring_of(6)
    keep(ring, "abc", 2)
    assert kept(ring, "abc") == "abc"
    keep(ring, "d", 1)
    assert kept(ring, "abcd") == "bcd"
    keep(ring, "e", 1)  # beside it, where the first was
    assert kept(ring, "abcde") == "bcde"
    keep(ring, "f", 3)
    assert kept(ring, "abcdef") == "def"


def test_one_that_ends_at_the_end_and_one_that_would_go_beyond() -> None:
    ring = ring_of(6)
    keep(ring, "ab", 3)
    keep(ring, "c", 4)
    assert kept(ring, "abc") == "c"
    keep(ring, "d", 3)  # two rows are left after it: it begins at the first
    assert kept(ring, "cd") == "d"
    keep(ring, "e", 6)
    assert kept(ring, "de") == "e"


def test_more_than_all_of_it_is_not_kept() -> None:
    ring = ring_of(5)
    keep(ring, "a", 5)
    keep(ring, "b", 6)
    assert kept(ring, "ab") == "a"


def test_what_is_there_stays_where_it_is() -> None:
    ring = ring_of(4)
    keep(ring, "aab", 2)
    assert kept(ring, "ab") == "ab"


@pytest.mark.parametrize("device", DEVICES)
def test_any_sizes_in_any_order(device: str) -> None:
    """What is there is as it was kept; the last ones are there, as many as fit with one of them cut off by the end."""
    draw, rows = random.Random(3), 40
    ring = ring_of(rows, device)
    sizes: list[int] = []
    for number in range(600):
        sizes.append(draw.randint(1, 12))
        ring.keep(number.to_bytes(16, "little"), features(number % 128, sizes[-1], device))
        there = [old for old in range(number + 1) if ring.take(old.to_bytes(16, "little")) is not None]
        assert there == list(range(there[0], number + 1)), "none but the oldest have gone"
        held = sum(sizes[there[0] :])
        assert held <= rows
        if there[0] > 0:
            assert held + sizes[there[0] - 1] + 11 + 11 > rows, "none has gone without need"
        for old in there:
            taken = ring.take(old.to_bytes(16, "little"))
            assert taken is not None
            assert torch.equal(taken, features(old % 128, sizes[old], device))


@pytest.mark.gpu
def test_it_takes_no_more_memory_than_it_says() -> None:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    ring = FeatureRing(RING_BYTES, 3584, torch.bfloat16, torch.device("cuda"))
    for number in range(40):
        ring.keep(bytes([number]), torch.zeros((1369, 3584), dtype=torch.bfloat16, device="cuda"))
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() - before <= RING_BYTES
