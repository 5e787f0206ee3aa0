"""Request bodies that are not wanted any more when the answer leaves."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Message, Receive, Scope

SMALL_BYTES = 64 << 10
"""Bodies up to this length are taken in whatever becomes of their request."""

LINGER_SECONDS = 1.0
"""After a refusal, what the client still sends is thrown away for so long: a connection that is closed at once would
take the answer with it."""


class Upload:
    """Watches how much of a request's body has come.

    Args:
        scope: of the request.
        receive: its messages; the application takes them from `receive` of this object.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._large = False
        self._ended = True
        self._begun = False
        for name, value in scope["headers"]:
            if name == b"transfer-encoding":
                self._large, self._ended = True, False
            elif name == b"content-length" and value != b"0":
                self._large, self._ended = len(value) > 9 or int(value) > SMALL_BYTES, False

    async def receive(self) -> Message:
        """The next message."""
        self._begun = True
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._ended = True
        return message

    @property
    def unwanted(self) -> bool:
        """Whether more of a body may come than is worth taking in for a request that is refused now."""
        return not self._ended and (self._large or self._begun)

    async def linger(self) -> None:
        """Throws away what comes, for a while."""

        async def drain() -> None:
            while not self._ended:
                await self.receive()

        with contextlib.suppress(asyncio.TimeoutError):  # the connection is closed now
            await asyncio.wait_for(drain(), LINGER_SECONDS)
