"""A task that is cancelled as the cache manager answers, between any two callbacks: its leases go back at once."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cache.harness import WAIT_SECONDS, encode_next, key, manager, put, want
from helpers.garbage import no_collector
from helpers.moments import moment
from lightllm_rs.cache import AsyncCacheClient

Ask = Callable[[AsyncCacheClient], Awaitable[Any]]


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.acquire([want("ready"), want("new")]),
        lambda client: client.lease([key("ready"), key("missing")]),
        lambda client: client.take(1),
    ],
    ids=["acquire", "lease", "take"],
)
def test_leases_of_a_cancelled_call_go_back(ask: Ask, tmp_path: Path) -> None:
    async def cancelled(endpoint: str, callbacks: int) -> tuple[bool, asyncio.Task[Any]]:
        client = AsyncCacheClient(endpoint, "http-0")
        task = asyncio.ensure_future(ask(client))
        await asyncio.sleep(0)
        # From here on the answer is there, and nobody has seen it yet.
        assert select.select([client._descriptor], [], [], WAIT_SECONDS)[0]
        with moment(callbacks, task.cancel) as cancel:
            for _ in range(20):
                await asyncio.sleep(0)
        assert task.done()
        if not task.cancelled():
            client.release([lease for lease in task.result() if lease is not None])
        it.until(lambda stats: stats["leases"] == held)  # while this client is there, and its task is known
        client.close()
        return cancel.come and task.cancelled(), task

    callbacks = 0
    with manager(tmp_path) as it, no_collector():
        client = it.client()
        client.release([put(client, "ready", bytes(1000), 2000)])
        encoded = put(client, "ready", bytes(1000), 2000)
        encode_next(it.client("visual-0"), lambda lease: bytes(lease.feature_len))
        client.release([encoded])
        waits = put(client, "waits", bytes(1000), 2000)
        held = 1
        while asyncio.run(cancelled(it.endpoint, callbacks))[0]:
            callbacks += 1
        assert callbacks > 2, "there were such moments"
        client.release([waits])
