"""A short soak; the long one is `python -m cache.soak` in the folder `tests`."""

from __future__ import annotations

from cache.soak import soak


def test_nothing_is_left_after_random_work_and_kills() -> None:
    figures = soak(seconds=6, arena_mib=8, seed=3, requests=200)
    assert figures["encoded"] > 20
    assert figures["kills"] >= 1
