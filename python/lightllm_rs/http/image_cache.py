"""The HTTP process's line to the cache manager, which may be replaced by a new one at any time."""

from __future__ import annotations

import asyncio
import logging

from lightllm_rs.cache import AsyncCacheClient, CacheError
from lightllm_rs.http.errors import ApiError, images_unavailable, unavailable

log = logging.getLogger(__name__)


HELLO_SECONDS = 0.2
"""The event loop stands still for the hello: a millisecond, but for a cache manager that is stuck."""

RETRY_SECONDS = 1.0

DEADLY_SECONDS, MOST_DEADLY = 600.0, 256
"""An image that visual servers died of is refused without another try for so long; so many are remembered."""


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
        self._next_try: float | None = None  # while no image can be encoded
        self._deadly: dict[bytes, float] = {}  # until when, by key, the oldest first

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

    def down_for(self, seconds: float | None) -> None:
        """No image can be encoded, and the next try is in so many seconds; None if they can."""
        self._next_try = None if seconds is None else asyncio.get_running_loop().time() + seconds

    def why_down(self) -> ApiError | None:
        """The 503 for what has to be encoded; None if that can be done."""
        if self._next_try is None:
            return None
        return images_unavailable(self._next_try - asyncio.get_running_loop().time())

    def remember_deadly(self, key: bytes) -> None:
        """Visual servers died of this image."""
        self._deadly.pop(key, None)
        self._deadly[key] = asyncio.get_running_loop().time() + DEADLY_SECONDS
        if len(self._deadly) > MOST_DEADLY:
            del self._deadly[next(iter(self._deadly))]

    def is_deadly(self, key: bytes) -> bool:
        """Whether they did, not long ago: whoever sends it again shall not end them again."""
        until = self._deadly.get(key)
        return until is not None and asyncio.get_running_loop().time() < until

    async def client_after(self, lost: AsyncCacheClient | None, seconds: float) -> AsyncCacheClient:
        """The line to another one than `lost`, which is gone. Raises ApiError 503 if it is not there in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._client is None or self._client is lost:
            why = self.why_down()
            if why is not None and self._next_try is not None and self._next_try > deadline:
                raise why
            if self._news is None:
                self._news = loop.create_future()
            # Not `wait_for`: before Python 3.12 a caller that is cancelled as the news come would not notice.
            done, _ = await asyncio.wait([self._news], timeout=max(0.0, deadline - loop.time()))
            if not done:
                raise why or unavailable("the image cache is starting again", "image_cache")
        return self._client
