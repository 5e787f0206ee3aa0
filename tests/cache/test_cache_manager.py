"""The cache over real sockets and real shared memory: what users see when nobody dies."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from cache.harness import MIB, WAIT_SECONDS, encode_next, key, manager, put, want
from lightllm_rs.cache import (
    AsyncCacheClient,
    CacheClient,
    CacheGone,
    CacheRefused,
    CacheTimeout,
    CacheTooLarge,
    State,
    Want,
)

PAGE = 64 << 10


def test_an_image_goes_in_and_its_features_come_out_without_a_copy(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        http, visual, backend = it.client("http-0"), it.client("visual-0"), it.client("backend-0")
        data = os.urandom(150_000)
        features = np.arange(60_000, dtype=np.float32)
        [lease] = http.acquire([want("cat", len(data), features.nbytes, 640 * 480, b"small")])
        assert (lease.state, lease.key, lease.data_len) == (State.WRITE, key("cat"), len(data))
        with pytest.raises(CacheRefused, match="features are not there"):
            _ = lease.features
        lease.write_data(data)
        http.publish_data([lease])
        assert lease.state == State.PENDING
        assert backend.lease([key("cat"), key("dog")]) == [None, None]

        [taken] = visual.take(8, 10**9)
        assert (taken.key, taken.pixels, taken.recipe) == (key("cat"), 640 * 480, b"small")
        assert taken.data.tobytes() == data
        assert not taken.data.flags.writeable
        assert memoryview(taken.data).contiguous
        room = taken.features
        assert room.flags.writeable
        np.frombuffer(room, dtype=np.float32)[:] = features
        visual.publish_features([taken])
        assert taken.ended

        assert http.wait([lease]) == [State.READY]
        [found, missing] = backend.lease([key("cat"), key("dog")])
        assert missing is None
        assert found is not None
        seen = np.frombuffer(found.features, dtype=np.float32)
        assert np.array_equal(seen, features)
        assert not seen.flags.writeable
        address = found.features.ctypes.data
        assert found.features.ctypes.data == address, "views of one extent are the arena itself"
        room[:4] = 255  # the encoder's mapping and the reader's are the same memory
        assert np.isnan(seen[0])
        stats = http.stats()
        assert stats["used_bytes"] == 4 * PAGE, "the original is gone, and features are whole pages"
        assert (stats["leases"], stats["encoded"], stats["clients"]) == (2, 1, 3)


def test_scattered_pages_are_read_as_one(tmp_path: Path) -> None:
    with manager(tmp_path, 2 * MIB) as it:
        client = it.client()
        count = client.total_bytes // PAGE // 2
        small = [put(client, number, b"x", 1) for number in range(count)]
        taken = client.take(100)
        client.publish_features(taken)  # each leaves one page, with a hole beside it
        for lease in small[::2]:
            lease.release()
        data = os.urandom((count + 2) * PAGE - 7)
        [lease] = client.acquire([want("large", len(data), 1)], timeout=WAIT_SECONDS)
        lease.write_data(data)
        assert lease.data.tobytes() == data
        client.publish_data([lease])
        [taken_large] = client.take(1)
        view = taken_large.data
        assert view.tobytes() == data
        again = taken_large.data
        assert again.ctypes.data != view.ctypes.data, "pages that lie apart are mapped one after the other"
        assert again.tobytes() == data
        assert client.stats()["evictions"] > 0


def test_a_view_keeps_its_lease_and_the_last_one_gives_it_back(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client = it.client()
        held = put(client, "cat", b"data", 8)
        encode_next(client, lambda _: b"features")
        held.release()
        [lease] = client.lease([key("cat")])
        assert lease is not None
        part = np.frombuffer(lease.features, dtype=np.uint16)[1:]
        del lease
        gc.collect()
        assert client.stats()["leases"] == 1
        assert part.tobytes() == b"atures"
        del part
        gc.collect()
        it.until(lambda stats: stats["leases"] == 0)


def test_a_hundred_callers_of_one_new_image_cause_one_encoding(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        visual = it.client("visual-0")
        found: list[bytes] = []

        def caller(client: CacheClient) -> None:
            [lease] = client.acquire([want("cat", 5, 8)], timeout=WAIT_SECONDS)
            if lease.state == State.WRITE:
                lease.write_data(b"image")
                client.publish_data([lease])
            assert client.wait([lease], timeout=WAIT_SECONDS) == [State.READY]
            found.append(lease.features.tobytes())

        shared = [it.client(f"http-{number}") for number in range(4)]
        threads = [threading.Thread(target=caller, args=(shared[number % 4],)) for number in range(100)]
        for thread in threads:
            thread.start()
        encode_next(visual, lambda lease: lease.data.tobytes() + b"!!!")
        for thread in threads:
            thread.join(WAIT_SECONDS)
        assert found == [b"image!!!"] * 100
        stats = it.until(lambda stats: stats["leases"] == 0)
        assert (stats["queries"], stats["encoded"]) == (100, 1)


def test_pressure_makes_callers_wait_in_order_without_holding_anything(tmp_path: Path) -> None:
    with manager(tmp_path, MIB) as it:
        first, second, third = it.client("http-0"), it.client("http-1"), it.client("http-2")
        half = first.total_bytes // 2
        [held] = first.acquire([want("a", half, PAGE)])
        order: list[str] = []

        def acquire(client: CacheClient, name: str) -> None:
            leases = client.acquire([want(name, half, PAGE)], timeout=WAIT_SECONDS)
            order.append(name)
            client.release(leases)

        threads = []
        for number, (client, name) in enumerate([(second, "b"), (third, "c")]):
            threads.append(threading.Thread(target=acquire, args=(client, name)))
            threads[-1].start()
            it.until(lambda stats, number=number: stats["waiters"] == number + 1)
        assert first.stats()["leases"] == 1
        held.release()
        for thread in threads:
            thread.join(WAIT_SECONDS)
        assert order == ["b", "c"]
        assert it.until(lambda stats: stats["leases"] == 0)["used_bytes"] == 0


def test_what_never_fits_is_refused_with_the_sum(tmp_path: Path) -> None:
    with manager(tmp_path, MIB) as it:
        client = it.client()
        with pytest.raises(CacheTooLarge, match="--mm-cache-size") as refused:
            client.acquire([want("a", MIB // 2, PAGE), want("b", MIB // 2, PAGE)])
        assert (refused.value.needed, refused.value.total) == (MIB + 2 * PAGE, client.total_bytes)
        assert client.stats()["leases"] == 0


def test_a_failed_image_tells_why_and_may_be_tried_again(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client = it.client()
        lease = put(client, "cat", b"no image", 8)
        [taken] = client.take(1)
        client.fail(taken, "the file is truncated")
        assert client.wait([lease]) == [State.FAILED]
        assert lease.error == "the file is truncated"
        [again] = client.acquire([want("cat", 8, 8)])
        assert again.state == State.WRITE


def test_calls_that_break_the_contract_are_refused(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client, other = it.client(), it.client()
        with pytest.raises(ValueError, match="16 bytes"):
            Want(b"short", 1, 1)
        with pytest.raises(CacheRefused, match="1 byte"):
            client.acquire([want("cat", 0)])
        with pytest.raises(CacheRefused, match="1 to 4096"):
            client.acquire([])
        [lease] = client.acquire([want("cat", 8, 8)])
        for wrong in (b"seven b", b"nine byte", np.zeros(3, np.float32)):
            with pytest.raises(CacheRefused, match="8 bytes were reserved"):
                lease.write_data(wrong)
        lease.write_data(np.arange(2, dtype=np.uint32))
        with pytest.raises(CacheRefused, match="may not write"):
            lease.write_features(b"features")
        with pytest.raises(CacheRefused, match="another client's"):
            other.publish_data([lease])
        with pytest.raises(CacheRefused, match="to be encoded"):
            client.publish_features([lease])
        with pytest.raises(CacheRefused, match="other sizes"):
            other.acquire([want("cat", 8, 9)])
        with pytest.raises(CacheRefused, match="at least"):
            client.take(0)
        with pytest.raises(ValueError, match="timeout"):
            client.take(1, timeout=-1.0)
        lease.release()
        lease.release()
        with pytest.raises(CacheRefused, match="has ended"):
            client.publish_data([lease])
        assert it.until(lambda stats: stats["leases"] == 0)["bad_releases"] == 0


def test_a_call_that_came_too_late_leaves_nothing_behind(tmp_path: Path) -> None:
    with manager(tmp_path, MIB) as it:
        client = it.client()
        with pytest.raises(CacheTimeout):
            client.take(1, timeout=0.01)
        [held] = client.acquire([want("a", client.total_bytes - PAGE, PAGE)])
        with pytest.raises(CacheTimeout):
            client.acquire([want("b")], timeout=0.01)
        put_back = it.until(lambda stats: stats["waiters"] == 0)
        assert put_back["leases"] == 1
        held.release()
        lease = put(client, "c", b"1", 1)
        assert it.until(lambda stats: stats["queued"] == 1)["leases"] == 1, "the withdrawn take got nothing"
        lease.release()


def test_many_calls_at_once_on_an_event_loop(tmp_path: Path) -> None:
    async def serve(endpoint: str, visual: CacheClient) -> None:
        client = AsyncCacheClient(endpoint, "http-0")

        async def request(number: int) -> bytes:
            name = number % 7
            [lease] = await client.acquire([want(name, 1, 8)])
            while lease.state != State.READY:
                if lease.state == State.WRITE:
                    lease.write_data(bytes([name]))
                    await client.publish_data([lease])
                await client.wait([lease])
            return lease.features.tobytes()

        async def encode() -> None:
            for _ in range(7):
                await asyncio.get_running_loop().run_in_executor(None, encode_all)

        left = 7

        def encode_all() -> None:
            nonlocal left
            if left > 0:
                left -= len(encode_next(visual, lambda lease: lease.data.tobytes() * 8))

        encoder = asyncio.ensure_future(encode())
        results = await asyncio.wait_for(asyncio.gather(*(request(number) for number in range(200))), WAIT_SECONDS)
        await encoder
        assert results == [bytes([number % 7]) * 8 for number in range(200)]
        assert (await client.stats())["encoded"] == 7
        [found, missing] = await client.lease([key(1), key("nothing")])
        assert found is not None
        assert missing is None
        client.release([found])

        waiting = asyncio.ensure_future(client.take(1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(CacheRefused):
            await client.acquire([])
        waiting = asyncio.ensure_future(client.take(1))
        await asyncio.sleep(0)
        client.close()
        with pytest.raises(CacheGone):
            await waiting
        with pytest.raises(CacheGone):
            await client.stats()

    with manager(tmp_path) as it:
        asyncio.run(serve(it.endpoint, it.client("visual-0")))
        it.until(lambda stats: stats["leases"] == 0 and stats["clients"] == 2)
