"""The cache under full pressure for a while: random images, aborts, and clients that are killed at any moment.

Callers acquire random images, some of which they abandon; visual servers encode them, or say that they can't; backends
read what is ready. All live in processes that are killed and started again. At the end nothing is held, and every call
was answered: a caller that gets no answer in a minute ends the soak with an error. In the folder `tests`:

    python -m cache.soak --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from ctypes import c_byte
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np

from cache.harness import key, manager
from lightllm_rs.cache import AsyncCacheClient, CacheClient, CacheTimeout, CacheTooLarge, Lease, State, Want

IMAGES = 300
ANSWER_SECONDS = 60.0


def sizes(name: int) -> tuple[int, int]:
    """Bytes of data and features of an image: some are larger than a tenth of the arena."""
    draw = random.Random(name)
    return draw.randrange(1, 400_000), 4 * draw.randrange(1, 200_000 if name % 10 else 600_000)


def pattern(name: int, length: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What the bytes of an image must be."""
    return np.resize(np.frombuffer(key(name), np.uint8), length)


async def call(client: AsyncCacheClient, draw: random.Random, done: Synchronized[int]) -> None:
    """One request: up to six images, wanted for a while; one in five is abandoned at a random moment."""
    names = [min(int(draw.expovariate(0.02)), IMAGES - 1) for _ in range(draw.randrange(1, 7))]

    async def serve() -> None:
        leases = await client.acquire([Want(key(name), *sizes(name), recipe=str(name).encode()) for name in names])
        while True:
            writing = [index for index, lease in enumerate(leases) if lease.state == State.WRITE]
            for index in writing:
                leases[index].write_data(pattern(names[index], sizes(names[index])[0]))
            if writing:
                await client.publish_data([leases[index] for index in writing])
            if State.WRITE not in await client.wait(leases):
                break
        for name, lease in zip(names, leases, strict=True):
            if lease.state == State.READY:
                check(lease, name)
        await asyncio.sleep(draw.random() * 0.01)
        client.release(leases)

    patience = draw.random() * 0.05 if draw.random() < 0.2 else ANSWER_SECONDS
    try:
        await asyncio.wait_for(serve(), patience)
    except CacheTooLarge:
        pass  # six large ones: that is an answer too
    except asyncio.TimeoutError:
        assert patience < ANSWER_SECONDS, "a request was not answered"
    with done.get_lock():
        done.value += 1


def check(lease: Lease, name: int) -> None:
    """The features are those of the image."""
    features = lease.features
    expected = pattern(name, len(features))
    assert np.array_equal(features, expected), f"image {name} has the features of another"


def http(endpoint: str, seed: int, done: Synchronized[int], stop: c_byte) -> None:
    """Sixteen requests at a time."""

    async def serve() -> None:
        client = AsyncCacheClient(endpoint, "http")
        draw = random.Random(seed)

        async def caller() -> None:
            while not stop.value:
                await call(client, draw, done)

        await asyncio.gather(*(caller() for _ in range(16)))
        client.close()

    asyncio.run(serve())


def visual(endpoint: str, seed: int, _: Synchronized[int], stop: c_byte) -> None:
    """Encodes: the features repeat the key, as the data does."""
    client, draw = CacheClient(endpoint, "visual"), random.Random(seed)
    while stop.value < 2:
        try:
            taken = client.take(draw.randrange(1, 9), timeout=0.5)
        except CacheTimeout:
            continue
        good = []
        for lease in taken:
            name = int(lease.recipe)
            assert np.array_equal(lease.data, pattern(name, lease.data_len)), f"image {name} is another"
            if draw.random() < 0.01:
                client.fail(lease, "a bad day")
                continue
            lease.write_features(pattern(name, lease.feature_len))
            good.append(lease)
        if good:
            client.publish_features(good)
    client.close()


def backend(endpoint: str, seed: int, _: Synchronized[int], stop: c_byte) -> None:
    """Reads what is ready, by key alone."""
    client, draw = CacheClient(endpoint, "backend"), random.Random(seed)
    while stop.value < 2:
        names = [draw.randrange(IMAGES) for _ in range(4)]
        for name, lease in zip(names, client.lease([key(name) for name in names], timeout=ANSWER_SECONDS), strict=True):
            if lease is not None:
                check(lease, name)
        time.sleep(0.002)
    client.close()


def soak(seconds: float, arena_mib: int, seed: int, requests: int = 0) -> dict[str, Any]:
    """Runs it, for longer where so many requests take longer; returns the figures."""
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("Q", 0), context.RawValue("b", 0)
    draw = random.Random(seed)
    roles = [http, http, visual, visual, backend]
    kills = 0
    with tempfile.TemporaryDirectory() as directory, manager(Path(directory), arena_mib << 20, checks=False) as it:

        def begin(role: Any) -> BaseProcess:
            process = context.Process(target=role, args=(it.endpoint, draw.getrandbits(32), done, stop))
            process.start()
            return process

        processes = [begin(role) for role in roles]
        until = time.monotonic() + seconds
        while time.monotonic() < until or done.value < requests:
            time.sleep(draw.random() * 3)
            index = draw.randrange(len(roles))
            ended = [process.exitcode for process in processes if process.exitcode is not None]
            assert not ended, f"a process ended by itself: {ended}"
            if draw.random() < 0.2:  # stopped for a while: it keeps what it has
                os.kill(processes[index].pid or 0, signal.SIGSTOP)
                time.sleep(draw.random() * 0.3)
                os.kill(processes[index].pid or 0, signal.SIGCONT)
                continue
            # Not while it holds the lock of the count, or nobody could count any more.
            with done.get_lock():
                processes[index].kill()
                processes[index].join()
            kills += 1
            processes[index] = begin(roles[index])
        # Callers end first: those who wait need encoders.
        pressure = it.until(lambda _: True)
        for index, process in enumerate(processes):
            stop.value = 1 if roles[index] is http else 2
            process.join(2 * ANSWER_SECONDS)
            if process.exitcode != 0:
                with suppress(ProcessLookupError):
                    process.kill()
                raise AssertionError(f"a process ended with {process.exitcode}")
        stats = it.until(lambda stats: stats["leases"] == 0)
        assert stats["used_bytes"] == stats["idle_bytes"], "pages are lost"
        assert (stats["waiters"], stats["waits"], stats["queued"]) == (0, 0, 0)
        # All that is idle goes when somebody needs the whole arena.
        client = it.client()
        largest = Want(key("whole"), stats["total_bytes"] - client.page_bytes, 1)
        whole = client.acquire([largest], timeout=ANSWER_SECONDS)
        client.release(whole)
        after = it.until(lambda stats: stats["leases"] == 0)
        assert (after["used_bytes"], after["items"]) == (0, 0), "something is left"
        assert it.stop() == 0
    return {
        "seconds": seconds,
        "requests": done.value,
        "kills": kills,
        "leases_at_the_end_of_pressure": pressure["leases"],
        **{name: after[name] for name in ("queries", "hits", "joins", "encoded", "failures", "evictions", "waited")},
    }


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--arena-mib", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(json.dumps(soak(options.seconds, options.arena_mib, options.seed), indent=1))


if __name__ == "__main__":
    main()
