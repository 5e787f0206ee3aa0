"""The HTTP process's line to the cache manager, which may be replaced by a new one at any time."""

from __future__ import annotations

import asyncio
import logging

from lightllm_rs.cache import AsyncCacheClient, CacheError
from lightllm_rs.http.errors import unavailable

log = logging.getLogger(__name__)


HELLO_SECONDS = 0.2
"""The event loop stands still for the hello: a millisecond, but for a cache manager that is stuck."""

RETRY_SECONDS = 1.0


class ImageCache:
    """The present cache manager, as the supervisor tells of it.

    Args:
        process: name of this HTTP process.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._client: AsyncCacheClient | None = None
        self._news: asyncio.Future[None] | None = None
        self._retry: asyncio.TimerHandle | None = None

    def connect(self, endpoint: str) -> None:
        """A cache manager is up."""
        self.disconnect()
        try:
            self._client = AsyncCacheClient(endpoint, self._process, timeout=HELLO_SECONDS)
        except CacheError as error:
            log.warning("the cache manager does not answer: %s", error)
            self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self.connect, endpoint)
            return
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    def disconnect(self) -> None:
        """The cache manager is gone: all that waits for it hears so."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def client(self) -> AsyncCacheClient:
        """The line to the present one. Raises ApiError 503 while there is none."""
        if self._client is None:
            raise unavailable("the image cache is starting", "image_cache")
        return self._client

    async def client_after(self, lost: AsyncCacheClient | None, seconds: float) -> AsyncCacheClient:
        """The line to another one than `lost`, which is gone. Raises ApiError 503 if it is not there in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._client is None or self._client is lost:
            if self._news is None:
                self._news = loop.create_future()
            try:
                await asyncio.wait_for(asyncio.shield(self._news), deadline - loop.time())
            except asyncio.TimeoutError:
                raise unavailable("the image cache was lost and is starting again", "image_cache") from None
        return self._client
