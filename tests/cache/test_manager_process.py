"""The cache manager as a process: its arena, its start, broken frames, what it tells of itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cache.harness import MIB, WAIT_MS, WAIT_SECONDS, manager, put, starting
from lightllm_rs.cache import CacheGone
from lightllm_rs.messages import cache as frames
from lightllm_rs.messages import control, telemetry
from lightllm_rs.messages.frames import PROTOCOL, encode
from lightllm_rs.messages.sockets import Dealer


def test_the_arena_is_private_and_goes_with_a_stop(tmp_path: Path) -> None:
    with manager(tmp_path, 3 * MIB) as it:
        found = it.arena.stat()
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert found.st_size <= 3 * MIB
        assert found.st_blocks * 512 >= found.st_size
        client = it.client()
        lease = put(client, "cat", b"still here", 1)
        [taken] = client.take(1)
        view = taken.data
        assert it.stop() == 0
        assert not it.arena.exists()
        assert view.tobytes() == b"still here"
        with pytest.raises(CacheGone):
            client.wait([lease])


def test_too_small_a_dev_shm_is_found_at_the_start(tmp_path: Path) -> None:
    with starting(tmp_path, 1 << 46) as it:
        last = it.said()
        assert isinstance(last, control.Fatal)
        assert "--mm-cache-size" in last.message
        assert "are free" in last.message
        assert it.process.wait(WAIT_SECONDS) != 0
        assert not it.arena.exists()


def test_bytes_that_are_no_frames_do_no_harm(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        stranger = Dealer(it.endpoint, "stranger")
        for frame in (b"", b"\xc1" * 100, encode(frames.Acquire(1, [])), encode(frames.Goodbye())):
            stranger.send(frame)
        stranger.send(encode(frames.CacheHello(PROTOCOL + 1, "new", os.getpid(), 0)))
        frame = stranger.receive(WAIT_MS)
        assert frame is not None
        assert isinstance(frames.cache_reply_decoder.decode(frame), frames.CacheWelcome)
        stranger.send(encode(frames.CacheHello(PROTOCOL, "dead", 2**22 + 1, 0)))
        stranger.close()
        assert it.client().stats()["clients"] == 1


def test_it_tells_the_health_and_the_metric_server(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        beat = it.health.receive(WAIT_MS)
        assert beat is not None
        assert telemetry.health_decoder.decode(beat[1]) == telemetry.Heartbeat("cache", False, 0, False)
        client = it.client()
        held = put(client, "cat", b"1", 1)
        values: dict[str, float] = {}
        while values.get("lightllm_mm_cache_leases") != 1:
            got = it.metrics.receive(WAIT_MS)
            assert got is not None
            report = telemetry.metrics_decoder.decode(got[1])
            assert isinstance(report, telemetry.Report)
            for sample in report.samples:
                total = values.get(sample.name, 0) if sample.name.endswith("_total") else 0
                values[sample.name] = total + sample.value
        assert values["lightllm_mm_cache_queries_total"] == 1
        assert values["lightllm_mm_cache_hits_total"] == 0
        assert values["lightllm_mm_cache_queue"] == 1
        assert values["lightllm_mm_cache_used_bytes"] == 2 * (64 << 10)
        assert not held.ended
