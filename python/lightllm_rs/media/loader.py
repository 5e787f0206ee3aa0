"""From the sources of a request to its pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lightllm_rs.media.errors import MediaError, Overloaded
from lightllm_rs.media.fetcher import Count, Fetcher
from lightllm_rs.media.formats import Picture, inspect
from lightllm_rs.media.inline import decode_base64
from lightllm_rs.media.limits import Limits
from lightllm_rs.media.local_files import read_file
from lightllm_rs.media.sources import Source

FETCHES = 4
"""Images of one request that are fetched at the same time, so that others get on too."""


class Held:
    """The pictures of one request, until `close`."""

    def __init__(self, loader: Loader) -> None:
        self.pictures: list[Picture] = []
        self._loader = loader
        self._bytes = 0

    def count(self, size: int) -> None:
        """More bytes have come. Raises MediaError or Overloaded."""
        loader, limit = self._loader, self._loader.limits.request_bytes
        self._bytes += size
        loader.held += size
        if self._bytes > limit:
            raise MediaError(f"the images of this request are larger than {limit} bytes together", "image_too_large")
        if loader.held > loader.limits.held_bytes:
            raise Overloaded("the images of other requests take all the room: try again")

    def close(self) -> None:
        """The bytes are not needed any more. May be called again."""
        self._loader.held -= self._bytes
        self._bytes = 0
        self.pictures = []


class Loader:
    """Brings pictures in, under the limits. Lives on one event loop; what takes long is done in threads.

    Args:
        fetcher: for those on the web.

    Attributes:
        held: bytes of all pictures that are here.
    """

    def __init__(self, limits: Limits, fetcher: Fetcher | None = None) -> None:
        self.limits = limits
        self._fetcher = Fetcher(limits) if fetcher is None else fetcher
        self._threads = ThreadPoolExecutor(2, "pictures")
        self.held = 0

    def check(self, source: Source) -> None:
        """Refuses what can be refused before anything is read. Raises MediaError."""
        if source.kind == "remote":
            self._fetcher.check(source.text)
        elif source.kind == "local" and self.limits.folder is None:
            raise MediaError("this server reads no files: send the image itself", "invalid_image_url")

    async def take(self, sources: Sequence[Source]) -> Held:
        """The pictures, in the same order; equal names are read once. Their bytes count until `Held.close`.

        Raises MediaError, with `param` of the source at fault, or Overloaded.
        """
        held = Held(self)
        try:
            held.pictures = await self._all(sources, held.count)
        except BaseException:
            held.close()
            raise
        return held

    async def _all(self, sources: Sequence[Source], count: Count) -> list[Picture]:
        tasks = self._started(sources, count)
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _end(tasks)

    def _started(self, sources: Sequence[Source], count: Count) -> list[asyncio.Task[Picture]]:
        tasks: list[asyncio.Task[Picture]] = []
        known: dict[Source, asyncio.Task[Picture]] = {}
        gate = asyncio.Semaphore(FETCHES)
        for source in sources:
            if source.kind == "inline":  # here already, and too long to be hashed on the event loop
                tasks.append(asyncio.create_task(self._one(source, gate, count)))
                continue
            name = replace(source, param="")
            if name not in known:
                known[name] = asyncio.create_task(self._one(source, gate, count))
            tasks.append(known[name])
        return tasks

    async def _one(self, source: Source, gate: asyncio.Semaphore, count: Count) -> Picture:
        limits, loop = self.limits, asyncio.get_running_loop()
        try:
            self.check(source)
            if source.kind == "remote":
                async with gate:
                    data = await self._fetcher.fetch(source.text, count)
                return await loop.run_in_executor(self._threads, inspect, data, source.detail, limits.pixels)
            picture = await loop.run_in_executor(self._threads, _here, source, limits)
            count(len(picture.data))
            return picture
        except MediaError as error:
            raise MediaError(error.message, error.code, source.param) from None

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _here(source: Source, limits: Limits) -> Picture:
    """A picture that is in the request or on the disk, by one way to a thread. Raises MediaError."""
    if source.kind == "local":
        assert limits.folder is not None, "checked"
        data = read_file(source.text, limits.folder, limits.image_bytes)
    else:
        data = decode_base64(source.text, limits.image_bytes)
    return inspect(data, source.detail, limits.pixels)


async def _end(tasks: list[asyncio.Task[Picture]]) -> None:
    """Nothing counts bytes after this."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # An error knows the frame of this list and a task knows its error: megabytes would wait for the garbage collector.
    tasks.clear()
