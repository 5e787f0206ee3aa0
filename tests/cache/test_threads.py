"""Many threads on one client: whoever sleeps on the connection has to pass on what is for the others."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.harness import WAIT_SECONDS, manager, want
from lightllm_rs.cache import AsyncCacheClient, CacheClient, CacheGone, CacheTimeout, State


def test_threads_of_one_client_with_calls_of_all_lengths(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client = it.client()
        until, written = time.monotonic() + 2, threading.Event()
        counts = [0, 0, 0]
        failures: list[BaseException] = []

        def write(draw: random.Random) -> None:
            name = (draw.getrandbits(40), "image")
            [lease] = client.acquire([want(name, 3, 5)], timeout=WAIT_SECONDS)
            lease.write_data(b"abc")
            client.publish_data([lease], timeout=WAIT_SECONDS)
            try:
                state = client.wait([lease], timeout=draw.choice([0.0005, 0.005, WAIT_SECONDS]))
            except CacheTimeout:
                return
            assert state == [State.READY]
            assert lease.features.tobytes() == b"abcde"
            counts[0] += 1

        def encode(draw: random.Random) -> None:
            try:
                taken = client.take(4, timeout=draw.choice([0.0005, 0.02]))
            except CacheTimeout:
                return
            for lease in taken:
                lease.write_features(lease.data.tobytes() + b"de")
            client.publish_features(taken, timeout=WAIT_SECONDS)
            counts[1] += len(taken)

        def ask(_: random.Random) -> None:
            assert client.stats(timeout=WAIT_SECONDS)["clients"] >= 1
            counts[2] += 1

        def repeat(work: Callable[[random.Random], None], seed: int) -> None:
            draw = random.Random(seed)
            try:
                while time.monotonic() < until or (work is encode and not written.is_set()):
                    work(draw)
            except BaseException as error:
                failures.append(error)

        works = [write] * 6 + [encode] * 2 + [ask] * 2
        threads = [threading.Thread(target=repeat, args=(work, seed)) for seed, work in enumerate(works)]
        for thread in threads:
            thread.start()
        for thread, work in zip(threads, works, strict=True):
            if work is encode:
                continue  # the others still need it
            thread.join(2 * WAIT_SECONDS)
        written.set()
        for thread in threads:
            thread.join(2 * WAIT_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        assert not failures
        assert min(counts) > 10, counts
        it.until(lambda stats: stats["leases"] == 0 and stats["queued"] == 0)


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_an_idle_event_loop_sleeps(tmp_path: Path, kind: str) -> None:
    loop_factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    async def idle(endpoint: str) -> float:
        client = AsyncCacheClient(endpoint, "http-0")
        [lease] = await client.acquire([want("a")])
        waiting = asyncio.ensure_future(client.take(1))
        await asyncio.sleep(0.05)
        before = time.process_time()
        await asyncio.sleep(0.5)
        used = time.process_time() - before
        lease.write_data(bytes(lease.data_len))
        await client.publish_data([lease])
        assert len(await asyncio.wait_for(waiting, WAIT_SECONDS)) == 1
        client.close()
        return used

    with manager(tmp_path) as it:
        loop = loop_factory()
        try:
            used = loop.run_until_complete(idle(it.endpoint))
        finally:
            loop.close()
        assert used < 0.25, "the descriptor was readable all the time"


def test_a_client_in_a_thread_of_its_own_ends_with_its_last_lease(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client = CacheClient(it.endpoint, "short")
        leases = client.acquire([want("a"), want("b")])
        del client
        view = leases[0].data
        del leases
        it.until(lambda stats: stats["leases"] == 1)
        view[:] = 1  # its lease keeps the connection, and the connection its mapping
        del view
        it.until(lambda stats: stats["leases"] == 0 and stats["clients"] == 1)


def test_closing_ends_calls_of_other_threads(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client = it.client()
        ended: list[Exception] = []

        def take() -> None:
            try:
                client.take(1)
            except CacheGone as error:
                ended.append(error)

        threads = [threading.Thread(target=take) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)  # most often they all wait by now; if one does not, it finds the client closed
        client.close()
        for thread in threads:
            thread.join(WAIT_SECONDS)
        assert len(ended) == 3
        it.until(lambda stats: stats["clients"] == 1)
