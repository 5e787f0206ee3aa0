"""What encoders are given, and what they are told to let go."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache.harness import key, manager, put
from lightllm_rs.cache import CacheRefused, State, Want

PAGE = 64 << 10


def test_images_that_nobody_waits_for_are_let_go_and_their_pages_are_free(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        http, visual = it.client("http-0"), it.client("visual-0")
        leases = [put(http, name, b"data", 8) for name in "abc"]
        taken = visual.take(3)
        assert visual.keep(taken) == [True, True, True]
        used = http.stats()["used_bytes"]
        http.release(leases[1:2])  # in the order of one client's frames: its pages are still the visual server's
        assert http.stats()["used_bytes"] == used
        assert visual.keep(taken) == [True, False, True]
        assert [lease.ended for lease in taken] == [False, True, False]
        stats = http.stats()
        assert (used - stats["used_bytes"], stats["abandoned"], stats["items"]) == (2 * PAGE, 1, 2)
        with pytest.raises(CacheRefused, match="has ended"):
            visual.keep(taken)
        with pytest.raises(CacheRefused, match="to be encoded"):
            http.keep(leases[:1])
        visual.publish_features([taken[0], taken[2]])
        assert http.wait([leases[0], leases[2]]) == [State.READY] * 2
        assert it.until(lambda stats: stats["leases"] == 2)["bad_releases"] == 0


def test_small_originals_go_before_large_ones_every_other_time(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client = it.client()
        sizes = [*[50_000_000] * 20, 300, 200]
        wants = [Want(key(number), 1, 1, original_pixels=pixels) for number, pixels in enumerate(sizes)]
        assert wants[0].original_pixels == 50_000_000
        leases = client.acquire(wants)
        client.publish_data(leases)
        taken = [lease for _ in range(5) for lease in client.take(1)]
        assert [lease.key for lease in taken] == [key(number) for number in (0, 21, 1, 20, 2)]
        assert len(client.take(100, 0, 2 * 50_000_000)) == 2
        assert len(client.take(100, 0, 1)) == 1, "a larger one goes alone"
