"""uvicorn, with bounds on request heads and without its signal handlers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lightllm_rs.http.errors import bad_request
from lightllm_rs.settings import ServeSettings

MAX_HEAD_BYTES = 64 << 10
"""Longest request line and headers together."""

HEAD_TOO_LONG = "The head of the request is too long."
FIELD_BYTES = 4
"""A colon, a space and a line break of each header."""

HEAD_SECONDS = 30.0
"""A head that takes longer to come in is cut off."""

IDLE_SECONDS = 75
"""Idle connections are kept a little longer than balancers keep theirs, so that it is they who close."""

GRACE_SECONDS = 2
"""At the end, answers that are on their way get so long to leave."""


class BodyWriter:
    """Writes parts of a body that has begun, past all layers: one call in place of a dozen, for each token.

    Args:
        cycle: uvicorn's, of the request.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    @property
    def ready(self) -> bool:
        """Whether `write` may be called: otherwise the part has to go the long way, which waits for slow readers."""
        cycle = self._cycle
        return (
            cycle.chunked_encoding is True
            and cycle.response_started
            and not (cycle.response_complete or cycle.disconnected or cycle.flow.write_paused)
            and not cycle.transport.is_closing()
        )

    def write(self, body: bytes) -> None:
        """A part of the body that is not empty, and not the last one."""
        self._cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body))


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself takes in heads of any length for any time.

    It also lends the transport to the application, for the watch over readers that stall, and a `BodyWriter`.
    """

    _head = 0  # bytes of the head that is coming in; -1 in a body
    _fields = 0  # the same, as the parser counts them: a head may come in one read with its body
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client connected; its first head begins."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._head_is_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head or of a body."""
        if self._head == 0:
            data = data.lstrip(b"\r\n")  # some clients end a body with a line break
            if not data:
                return
        if self._head >= 0:
            self._head += len(data)
            if self._head_timer is None:  # a later request of the connection
                self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        super().data_received(data)
        if self._head > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(HEAD_TOO_LONG)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._fields = 0
        self.scope["transport"] = self.transport  # type: ignore[typeddict-unknown-key]

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer of a body in chunks."""
        self._count(len(name) + len(value) + FIELD_BYTES)
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._fields += size
        if self._fields > MAX_HEAD_BYTES:
            raise ValueError(HEAD_TOO_LONG)  # the parser stops, and `send_400_response` is called

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_is_done()
        super().on_headers_complete()
        self.scope["body_writer"] = BodyWriter(self.cycle)  # type: ignore[typeddict-unknown-key]

    def on_message_complete(self) -> None:
        """The request is there; the next bytes are another head."""
        super().on_message_complete()
        self._head = 0

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, in the shape of all errors; in the middle of an answer it can only hang up."""
        if self.transport.is_closing():
            return
        if self.pipeline or (self._answering and self.cycle.response_started):
            self.transport.close()
            return
        if self._fields > MAX_HEAD_BYTES:
            msg = HEAD_TOO_LONG
        body = bad_request(msg.strip(), code="invalid_http").body()
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: "
        self.transport.write(head + b"%d\r\n\r\n" % len(body) + body)
        self.transport.close()

    def _head_is_done(self) -> None:
        self._head = -1
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _head_is_late(self) -> None:
        if self._answering:  # the next head has time until this answer is over
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        elif not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server that leaves signals to the supervisor.

    Args:
        on_started: called once it accepts connections.
    """

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept."""
        await super().startup(sockets)
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: the supervisor says when to stop."""
        yield

    def stop_accepting(self) -> None:
        """Closes the listening socket and idle connections; the others are closed after their answers."""
        for server in getattr(self, "servers", ()):  # set when it has started
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()


def build_server(app: ASGIApp, settings: ServeSettings, on_started: Callable[[], None]) -> Server:
    """A server for `app`. Raises OSError or ssl.SSLError if the TLS files cannot be read."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_keyfile=settings.ssl_keyfile,
        ssl_certfile=settings.ssl_certfile,
    )
    config.load()
    return Server(config, on_started)


def inherited(descriptor: int) -> socket.socket:
    """The listening socket that the supervisor passed on."""
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)
    return listener
