"""From the sources of a request to its pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

from lightllm_rs.media.errors import MediaError, Overloaded
from lightllm_rs.media.fetcher import Count, Fetcher
from lightllm_rs.media.formats import Picture, inspect
from lightllm_rs.media.inline import decode_base64
from lightllm_rs.media.limits import Limits
from lightllm_rs.media.local_files import read_file
from lightllm_rs.media.sources import Source

REQUESTS_AT_ONCE = 8
"""The pictures that are held at the same time may be so many times the longest request's."""


class Loader:
    """Brings pictures in, under the limits. Lives on one event loop; what takes long is done in threads.

    Args:
        fetcher: for those on the web.
    """

    def __init__(self, limits: Limits, fetcher: Fetcher | None = None) -> None:
        self.limits = limits
        self._fetcher = Fetcher(limits) if fetcher is None else fetcher
        self._threads = ThreadPoolExecutor(2, "pictures")
        self._held = 0

    def check(self, source: Source) -> None:
        """Refuses what can be refused before anything is read. Raises MediaError."""
        if source.kind == "remote":
            self._fetcher.check(source.text)
        elif source.kind == "local" and self.limits.folder is None:
            raise MediaError("this server reads no files: send the image itself", "invalid_image_url")

    @asynccontextmanager
    async def load(self, sources: Sequence[Source]) -> AsyncIterator[list[Picture]]:
        """The pictures, in the same order; equal sources are read once.

        Their bytes count as held until the block ends. Raises MediaError, with `param` of the source at fault, or
        Overloaded.
        """
        taken = 0

        def count(size: int) -> None:
            nonlocal taken
            taken += size
            self._held += size
            if taken > self.limits.request_bytes:
                raise MediaError(
                    f"the images of this request are larger than {self.limits.request_bytes} bytes together",
                    "image_too_large",
                )
            if self._held > REQUESTS_AT_ONCE * self.limits.request_bytes:
                raise Overloaded("too many images are coming in at once")

        try:
            yield await self._all(sources, count)
        finally:
            self._held -= taken

    async def _all(self, sources: Sequence[Source], count: Count) -> list[Picture]:
        tasks: dict[Source, asyncio.Task[Picture]] = {}
        for source in sources:
            key = replace(source, param="")
            if key not in tasks:
                tasks[key] = asyncio.create_task(self._one(source, count))
        try:
            await asyncio.gather(*tasks.values())
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)  # nothing counts bytes after the block
        return [tasks[replace(source, param="")].result() for source in sources]

    async def _one(self, source: Source, count: Count) -> Picture:
        limits, loop = self.limits, asyncio.get_running_loop()
        try:
            self.check(source)
            if source.kind == "remote":
                data = await self._fetcher.fetch(source.text, count)
            elif source.kind == "local":
                assert limits.folder is not None, "checked"
                data = await loop.run_in_executor(
                    self._threads, read_file, source.text, limits.folder, limits.image_bytes
                )
                count(len(data))
            else:
                data = await loop.run_in_executor(self._threads, decode_base64, source.text, limits.image_bytes)
                count(len(data))
            return await loop.run_in_executor(self._threads, inspect, data, source.detail, limits.pixels)
        except MediaError as error:
            raise MediaError(error.message, error.code, source.param) from None

    @property
    def held(self) -> int:
        """Bytes of pictures that are held now."""
        return self._held

    def close(self) -> None:
        """Ends the threads."""
        self._fetcher.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
