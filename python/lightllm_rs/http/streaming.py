"""Answers as server-sent events, and the watch over clients that leave or do not read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lightllm_rs.http.body import ClientGone
from lightllm_rs.http.call import Call
from lightllm_rs.http.choice import Choice
from lightllm_rs.http.errors import ApiError, internal, unavailable
from lightllm_rs.http.server import BodyWriter

log = logging.getLogger(__name__)

MAX_UNSENT = 65_536
"""Tokens that wait for a slow reader; more end its request."""

DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keep-alive\n\n"

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies must not wait for more
]


class Events(Protocol):
    """How a route writes its events."""

    def of_choice(self, choice: Choice) -> bytes:
        """All that is new of a choice; b"" if that is nothing to show yet."""
        ...

    def end(self) -> bytes:
        """What comes after the last choice has ended."""
        ...


async def _watch(receive: Receive, call: Call) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    call.leave()


@asynccontextmanager
async def _running(receive: Receive, call: Call) -> AsyncIterator[None]:
    """A call under way; it ends when the client leaves, and with the block."""
    watcher = asyncio.create_task(_watch(receive, call))
    try:
        yield
    finally:
        watcher.cancel()
        call.close()


async def finish(request: Request, call: Call) -> None:
    """Waits until all choices have ended. Raises ApiError if they failed, ClientGone if nobody waits any more."""
    async with _running(request.receive, call):
        call.submit()
        while not call.done:
            await call.wait()
    if call.error is not None:
        call.error.ran = True
        raise call.error
    if call.gone:
        raise ClientGone(ran=True)


class EventStream(Response):
    """A stream of events. Its headers leave with the first output, so that a refusal still has a status of its own.

    The task of the request sends headers and end, and waits for slow readers; in between, events are written when the
    outbox says so, without waking it. Text that comes while the client does not read is kept in the choices and leaves
    in one event later.
    """

    def __init__(self, call: Call, events: Events) -> None:
        super().__init__()
        self._call = call
        self._events = events
        self._started = False
        self._idle_since = 0.0  # nothing to send
        self._sending_since = 0.0  # the client does not read
        self._buffered = 0
        self._beat = False
        self._listed = False  # in the outbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the call to its end, as an ASGI application."""
        call = self._call
        self._transport: asyncio.WriteTransport = scope["transport"]
        self._writer: BodyWriter = scope["body_writer"]
        call.service.streams.add(self)
        call.on_news = self._list
        try:
            async with _running(receive, call):
                try:
                    call.submit()
                except ApiError as error:  # the engine went down since the route looked
                    call.fail(error)
                await self._run(send)
        finally:
            call.service.streams.discard(self)
        if call.error is not None and not self._started:
            await call.error.response()(scope, receive, send)

    async def _run(self, send: Send) -> None:
        call, events = self._call, self._events
        while not call.gone:
            body = self._new()
            last = call.done
            if call.error is not None:
                if not self._started:
                    return
                body += b"data: " + call.error.body() + b"\n\n" + DONE
            elif last:
                body += events.end()
            elif self._beat:
                body += KEEPALIVE
                self._beat = False
            if body:
                self._sending_since = time.monotonic()
                if not self._started:
                    self._started = True
                    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                await send({"type": "http.response.body", "body": body, "more_body": not last})
                self._sending_since = 0.0
            if last:
                return
            self._idle_since = time.monotonic()
            await call.wait()
            self._idle_since = 0.0

    def _new(self) -> bytes:
        return b"".join([self._events.of_choice(choice) for choice in self._call.take_moved()])

    def _list(self) -> None:
        if not self._listed:
            self._listed = True
            self._call.service.outbox.add(self)

    def write_new(self, now: float) -> None:
        """Writes what is new, unless the task has to do it."""
        self._listed = False
        call = self._call
        if call.done or not (self._started and call.awaited and self._writer.ready):
            call.wake()
            return
        body = self._new()
        if body:
            self._writer.write(body)
            self._idle_since = now

    def break_off(self) -> None:
        """The events could not be written: a fault of ours."""
        self._call.fail(internal())

    def tick(self, now: float) -> None:
        """Called about once a second: a comment into a silent stream, and an end to one that nobody reads."""
        settings = self._call.service.settings
        if self._idle_since and now - self._idle_since >= settings.keepalive_seconds:
            self._idle_since = now
            self._beat = True
            self._call.wake()
        if not self._sending_since:
            return
        buffered = self._transport.get_write_buffer_size()
        if buffered != self._buffered:
            self._buffered, self._sending_since = buffered, now
        stalled = now - self._sending_since >= settings.stream_stall_timeout
        if stalled or any(choice.output.unsent > MAX_UNSENT for choice in self._call.moved):
            log.warning("a client does not read its stream and was cut off (%d bytes unsent)", buffered)
            self._call.fail(unavailable("the client did not read its stream"))
            self._transport.abort()  # the blocked send returns, and the watcher hears of the end
