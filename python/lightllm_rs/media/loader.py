"""From the sources of a request to its pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lightllm_rs.media.errors import MediaError, Overloaded
from lightllm_rs.media.fetcher import Count, Fetcher
from lightllm_rs.media.formats import Picture, digest_of, inspect
from lightllm_rs.media.inline import decode_base64
from lightllm_rs.media.known import KnownPictures
from lightllm_rs.media.limits import Limits
from lightllm_rs.media.local_files import read_file
from lightllm_rs.media.plain import MOST_BYTES, plain_length
from lightllm_rs.media.sources import Detail, Source

FETCHES = 4
"""Images of one request that are fetched at the same time, so that others get on too."""

AT_ONCE_LETTERS = 128 << 10
"""Base64 up to so long together is decoded and hashed on the event loop if its headers are known or plain: 0.2 ms at
most, of which a thread would keep the interpreter to itself for most too."""


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
        self._known = KnownPictures()
        self.held = 0

    def check(self, source: Source) -> None:
        """Refuses what can be refused before anything is read. Raises MediaError."""
        if source.kind == "remote":
            self._fetcher.check(source.text)
        elif source.kind == "local" and self.limits.folder is None:
            raise MediaError("this server reads no files: send the image itself", "invalid_image_url")

    def take_at_once(self, sources: Sequence[Source], salt: str = "") -> Held | None:
        """The pictures, if they are in the request, short, and all known by this salt or with plain headers: others may
        take long to read. None if `take` has to be awaited, or says what is wrong."""
        if any(source.kind != "inline" for source in sources):
            return None
        if sum(len(source.text) for source in sources) > AT_ONCE_LETTERS:
            return None
        held, headers = Held(self), 0
        try:
            for source in sources:
                data = decode_base64(source.text, self.limits.image_bytes)
                digest = digest_of(data)
                picture = self._known.find(data, digest, source.detail, salt)
                if picture is None:
                    length = plain_length(data)
                    if length is None or headers + length > MOST_BYTES:
                        held.close()
                        return None
                    headers += length
                    picture = self._inspect(data, digest, source.detail, salt, plain=True)
                held.count(len(data))
                held.pictures.append(picture)
        except (MediaError, Overloaded):
            held.close()
            return None
        except BaseException:
            held.close()
            raise
        return held

    async def take(self, sources: Sequence[Source], salt: str = "") -> Held:
        """The pictures, in the same order; equal names are read once. Their bytes count until `Held.close`.

        Args:
            salt: what it makes known is so to requests with the same salt alone.

        Raises MediaError, with `param` of the source at fault, or Overloaded.
        """
        held = Held(self)
        try:
            held.pictures = await self._all(sources, salt, held.count)
        except BaseException:
            held.close()
            raise
        return held

    async def _all(self, sources: Sequence[Source], salt: str, count: Count) -> list[Picture]:
        tasks = self._started(sources, salt, count)
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _end(tasks)

    def _started(self, sources: Sequence[Source], salt: str, count: Count) -> list[asyncio.Task[Picture]]:
        tasks: list[asyncio.Task[Picture]] = []
        known: dict[Source, asyncio.Task[Picture]] = {}
        gate = asyncio.Semaphore(FETCHES)
        for source in sources:
            if source.kind == "inline":  # here already, and too long to be hashed on the event loop
                tasks.append(asyncio.create_task(self._one(source, salt, gate, count)))
                continue
            name = replace(source, param="")
            if name not in known:
                known[name] = asyncio.create_task(self._one(source, salt, gate, count))
            tasks.append(known[name])
        return tasks

    async def _one(self, source: Source, salt: str, gate: asyncio.Semaphore, count: Count) -> Picture:
        loop = asyncio.get_running_loop()
        try:
            self.check(source)
            if source.kind == "remote":
                async with gate:
                    data = await self._fetcher.fetch(source.text, count)
                return await loop.run_in_executor(self._threads, self._read, data, source.detail, salt)
            picture = await loop.run_in_executor(self._threads, self._here, source, salt)
            count(len(picture.data))
            return picture
        except MediaError as error:
            raise MediaError(error.message, error.code, source.param) from None

    def _here(self, source: Source, salt: str) -> Picture:
        """A picture that is in the request or on the disk, by one way to a thread. Raises MediaError."""
        limits = self.limits
        if source.kind == "local":
            assert limits.folder is not None, "checked"
            data = read_file(source.text, limits.folder, limits.image_bytes)
        else:
            data = decode_base64(source.text, limits.image_bytes)
        return self._read(data, source.detail, salt)

    def _read(self, data: bytes, detail: Detail, salt: str) -> Picture:
        """A picture of these bytes. In a thread. Raises MediaError."""
        digest = digest_of(data)
        return self._known.find(data, digest, detail, salt) or self._inspect(data, digest, detail, salt)

    def _inspect(self, data: bytes, digest: bytes, detail: Detail, salt: str, plain: bool = False) -> Picture:
        """What the header says, and remembers it. Raises MediaError."""
        picture = inspect(data, detail, self.limits.pixels, digest, plain=plain)
        self._known.add(picture, salt)
        return picture

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _end(tasks: list[asyncio.Task[Picture]]) -> None:
    """Nothing counts bytes after this."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # An error knows the frame of this list and a task knows its error: megabytes would wait for the garbage collector.
    tasks.clear()
