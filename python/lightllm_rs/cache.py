"""The cache of images and their features in shared memory, as its users have it: `docs/cache.md` walks through it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from lightllm_rs._core import (
    CacheClient,
    CacheCorrupt,
    CacheError,
    CacheGone,
    CacheRefused,
    CacheTimeout,
    CacheTooLarge,
    Lease,
    Want,
)

__all__ = [
    "AsyncCacheClient",
    "CacheClient",
    "CacheCorrupt",
    "CacheError",
    "CacheGone",
    "CacheRefused",
    "CacheTimeout",
    "CacheTooLarge",
    "Lease",
    "State",
    "View",
    "Want",
]

View: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
"""Bytes of an item [bytes], in shared memory. It keeps its lease for as long as it, or what is made of it, lives."""


class State:
    """Values of `Lease.state`."""

    WRITE = "write"
    """The holder of the lease writes the data, and publishes it."""
    PENDING = "pending"
    """Somebody else writes or encodes it; or its holder encodes it, if it was taken."""
    READY = "ready"
    """The features are there."""
    FAILED = "failed"
    """It could not be encoded; `Lease.error` says why."""


class AsyncCacheClient:
    """A `CacheClient` on the running event loop: calls are awaited, and many may be under way.

    When the task that awaits a call is cancelled, the call is withdrawn, and leases that still come are given back.

    Args:
        endpoint: the cache manager's socket.
        name: of this process, for people.
        timeout: seconds to wait for the cache manager's hello, in which the loop stands still (about 1 ms as a rule).

    Raises as `CacheClient` does; every call raises CacheGone once the cache manager has ended.
    """

    def __init__(self, endpoint: str, name: str, *, timeout: float = 10.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = CacheClient(endpoint, name, timeout=timeout)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._descriptor = self._client.fileno()
        self._loop.add_reader(self._descriptor, self._finish)

    @property
    def total_bytes(self) -> int:
        """Bytes for items."""
        return self._client.total_bytes

    @property
    def server_pid(self) -> int:
        """Process of the cache manager."""
        return self._client.server_pid

    async def acquire(self, wants: Sequence[Want]) -> list[Lease]:
        """See `CacheClient.acquire`."""
        return await self._answer(self._client.begin_acquire(wants))  # type: ignore[no-any-return]

    async def publish_data(self, leases: Sequence[Lease]) -> None:
        """See `CacheClient.publish_data`."""
        await self._answer(self._client.begin_publish_data(leases))

    async def wait(self, leases: Sequence[Lease]) -> list[str]:
        """See `CacheClient.wait`."""
        return await self._answer(self._client.begin_wait(leases))  # type: ignore[no-any-return]

    async def take(self, max_items: int, max_pixels: int = 0, max_original_pixels: int = 0) -> list[Lease]:
        """See `CacheClient.take`."""
        call = self._client.begin_take(max_items, max_pixels, max_original_pixels)
        return await self._answer(call)  # type: ignore[no-any-return]

    async def publish_features(self, leases: Sequence[Lease]) -> None:
        """See `CacheClient.publish_features`."""
        await self._answer(self._client.begin_publish_features(leases))

    async def fail(self, lease: Lease, message: str) -> None:
        """See `CacheClient.fail`."""
        await self._answer(self._client.begin_fail(lease, message))

    async def lease(self, keys: Sequence[bytes]) -> list[Lease | None]:
        """See `CacheClient.lease`."""
        return await self._answer(self._client.begin_lease(keys))  # type: ignore[no-any-return]

    async def stats(self) -> dict[str, int]:
        """See `CacheClient.stats`."""
        return await self._answer(self._client.begin_stats())  # type: ignore[no-any-return]

    def release(self, leases: Sequence[Lease]) -> None:
        """See `CacheClient.release`."""
        self._client.release(leases)

    def close(self) -> None:
        """Gives all back; calls under way raise CacheGone."""
        if self._descriptor >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._descriptor)
            self._descriptor = -1
            self._client.close()
            self._finish()

    async def _answer(self, call: int) -> Any:
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[call] = answer
        try:
            return await answer
        finally:
            # Nobody has taken the answer if it was not there yet, or if the task was cancelled as it came.
            if self._waiting.pop(call, None) is not None:
                self._client.withdraw(call)
            del answer  # an error knows this frame: leases that came as the task was cancelled would last as long

    def _finish(self) -> None:
        for call, result in self._client.finished():
            answer = self._waiting.pop(call, None)
            if answer is None or answer.done():
                continue  # its task was cancelled; leases in `result` go back with it
            if isinstance(result, BaseException):
                answer.set_exception(result)
            else:
                answer.set_result(result)
