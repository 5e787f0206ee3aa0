"""The images of one request under way: from the image cache's first word to the end of the request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightllm_rs.cache import CacheGone, CacheTooLarge, Lease, State
from lightllm_rs.http.errors import ApiError, bad_request, images_lost, internal, unavailable
from lightllm_rs.messages.images import IMAGE_DEADLY, ImageSpan

if TYPE_CHECKING:
    from lightllm_rs.cache import AsyncCacheClient
    from lightllm_rs.http.call import Call
    from lightllm_rs.http.prompt_images import PromptImages
    from lightllm_rs.http.service import Service

log = logging.getLogger(__name__)

NEW_SECONDS = 2.0
"""A new request waits so long for a cache manager: one that died is back sooner, unless it dies again and again."""

LOST_SECONDS = 1.7
"""A request whose images are lost waits so long for a new cache manager: it is answered within two seconds."""

INLINE_BYTES = 256 << 10
"""Longer data is copied into the cache by a thread."""

MOST_SENT = 2
"""Times that a request goes to the router: once more if its images were lost."""


class CallImages:
    """Leases of a call's images, from `start` to `close`. Lives on the event loop.

    If the cache manager dies before anything was generated, the request is sent again, once.
    """

    def __init__(self, service: Service, images: PromptImages) -> None:
        assert service.image_cache is not None, "images are refused where no model sees"
        self._service, self._cache, self._prompt = service, service.image_cache, images
        self._task: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._client: AsyncCacheClient | None = None
        self._leases: list[Lease] = []
        self._copying: set[asyncio.Future[None]] = set()
        self._sent = 0

    def start(self, call: Call) -> None:
        """Sends the call to the router as soon as the images have room. What goes wrong ends the call."""
        self._task = asyncio.create_task(self._guarded(call))

    def close(self) -> None:
        """The request is over, however it went: nothing is held any more."""
        self._stop()
        self._prompt.close()

    def generated(self) -> None:
        """The call has output: it will not be sent again, and its pictures are not needed any more."""
        if self._sent < MOST_SENT:
            self._sent = MOST_SENT
            self._prompt.close()

    def again(self, call: Call) -> bool:
        """The backend did not find an image. Whether the call is sent again: once, and if nothing was generated."""
        if self._sent >= MOST_SENT or call.has_output:
            return False
        self._stop()
        call.withdraw()
        self.start(call)
        return True

    def _stop(self) -> None:
        # No step of the task's own comes after this: it does not wait by way of tasks that hear of it later, nor by
        # `asyncio.wait_for`, which before Python 3.12 does that and can lose a cancellation too.
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._alarm is not None:
            self._alarm.cancel()
        self._release()

    async def _guarded(self, call: Call) -> None:
        try:
            await self._run(call)
        except ApiError as error:
            call.fail(error)
        except CacheTooLarge as error:
            needed, total = (size / (1 << 20) for size in (error.needed, error.total))
            call.fail(
                bad_request(
                    f"the images of the request take {needed:.1f} MiB of the image cache and all of it is {total:.1f} "
                    "MiB: send fewer or smaller images",
                    code="images_too_large",
                )
            )
        except Exception:  # a fault of ours, or of the cache's: nobody else would answer the call
            log.exception("the images of a request could not be handled")
            call.fail(internal())

    async def _run(self, call: Call) -> None:
        # The cache manager may have died, and the next one not be there yet.
        self._client = await self._cache.client_after(None, LOST_SECONDS if self._sent else NEW_SECONDS)
        seconds = self._service.settings.image_wait_timeout
        while True:
            alarm = asyncio.get_running_loop().call_later(seconds, self._too_late, call, seconds)
            self._alarm = alarm
            try:
                await self._serve(call, self._client)
                return
            except CacheGone:
                self._release()
                if call.has_output:
                    self._enough(call)
                    return
                if self._sent >= MOST_SENT:
                    raise images_lost() from None
                call.withdraw()
            finally:
                alarm.cancel()
            self._client = await self._cache.client_after(self._client, LOST_SECONDS)

    def _too_late(self, call: Call, seconds: float) -> None:
        self._stop()
        if call.has_output:
            self._enough(call)
            return
        call.fail(
            unavailable(
                f"the images of the request were not encoded within {seconds:g} s: send it again later", "image_timeout"
            )
        )

    def _enough(self, call: Call) -> None:
        """What the call needs of its images is on the device, in a cached prefix if they never came. If it is put back
        and needs one after all, it shall fail there and not wait for ever."""
        for number in range(len(self._prompt.spans)):
            call.image_ready(number)

    async def _serve(self, call: Call, client: AsyncCacheClient) -> None:
        began = time.perf_counter()
        self._leases = await self._acquire(client)
        await self._write(client, [number for number, lease in enumerate(self._leases) if lease.state == State.WRITE])
        ready = [lease.state == State.READY for lease in self._leases]
        spans = [
            ImageSpan(span.start, span.tokens, span.key, span.grid, is_ready)
            for span, is_ready in zip(self._prompt.spans, ready, strict=True)
        ]
        self._sent += 1
        if self._sent > 1:
            self._service.observer.image_resend()
        call.send(spans, self._prompt.position_offset)
        waiting = [
            asyncio.create_task(self._ready(call, client, number))
            for number, is_ready in enumerate(ready)
            if not is_ready
        ]
        if waiting:
            await _all_of(waiting)
        self._service.observer.images_ready(time.perf_counter() - began)

    async def _acquire(self, client: AsyncCacheClient) -> list[Lease]:
        """Leases of all images. Raises ApiError 400 for one that is not tried again, and 503 while none can be encoded
        and not all are there."""
        wants = [image.want for image in self._prompt.images]
        for number, want in enumerate(wants):
            if self._cache.is_deadly(want.key):
                raise self._prompt.failure(number, IMAGE_DEADLY)
        down = self._cache.why_down()
        if down is None:
            return await client.acquire(wants)
        found = await client.lease([want.key for want in wants])
        there = [lease for lease in found if lease is not None]
        if len(there) < len(found):
            client.release(there)
            raise down
        return there

    async def _write(self, client: AsyncCacheClient, numbers: Sequence[int]) -> None:
        """Puts the originals in that nobody else has."""
        if not numbers:
            return
        leases = [self._leases[number] for number in numbers]
        pictures = [self._prompt.images[number].picture for number in numbers]

        def copy() -> None:
            for lease, picture in zip(leases, pictures, strict=True):
                lease.write_data(picture.data)

        if sum(len(picture.data) for picture in pictures) <= INLINE_BYTES:
            copy()
        else:
            copying = asyncio.get_running_loop().run_in_executor(self._service.threads, copy)
            self._copying.add(copying)
            await asyncio.shield(copying)
            self._copying.discard(copying)
        await client.publish_data(leases)

    async def _ready(self, call: Call, client: AsyncCacheClient, number: int) -> None:
        """Tells the router once the image is there. Raises ApiError if it never will be."""
        lease = self._leases[number]
        while True:
            (state,) = await client.wait([lease])
            if state == State.FAILED and lease.error == IMAGE_DEADLY:
                self._cache.remember_deadly(self._prompt.spans[number].key)
            if state == State.READY or call.has_output:  # as `_enough` says; its pictures are not here any more
                call.image_ready(number)
                return
            if state == State.FAILED:
                raise self._prompt.failure(number, lease.error)
            await self._write(client, [number])  # who was to write it is gone

    def _release(self) -> None:
        leases, client, copying = self._leases, self._client, self._copying
        self._leases, self._copying = [], set()
        if not leases or client is None:
            return
        if all(one.done() for one in copying):
            client.release(leases)
        else:  # others must not get pages that a thread still writes to
            asyncio.gather(*copying, return_exceptions=True).add_done_callback(lambda _: client.release(leases))


async def _all_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Until all are done, or one has failed, whose error this raises; the others end with it.

    Not `asyncio.gather`: who is cancelled as one of them fails would get the error, and go on.
    """
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
