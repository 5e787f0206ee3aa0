"""Connections to the public internet: the address that was checked is the one that is connected to.

One object resolves, checks and connects, for every connection anew. So a name whose address changes between two
questions (DNS rebinding) gains nothing, and neither does a redirect.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import httpcore

from lightllm_rs.media.addresses import Address, is_public

CONNECT_SECONDS = 3.0
"""For one address, so that a host with one dead address is still reached in time."""

MOST_ADDRESSES = 4
"""Addresses of one host that are tried."""

Resolve = Callable[[str, int], Awaitable[list[Address]]]
"""Host name and port -> its addresses. Raises Unreachable."""

Dial = Callable[[Address, int], Coroutine[Any, Any, httpcore.AsyncNetworkStream]]
"""Address and port -> a connection. Raises Unreachable."""


class Unreachable(Exception):
    """No connection. It never says why: a caller could map the operator's network with it."""


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to hosts all of whose addresses are public, and to no others.

    Args:
        resolve, dial: what stands below the check; a test has its own.
    """

    def __init__(self, resolve: Resolve, dial: Dial) -> None:
        self._resolve = resolve
        self._dial = dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to `host`. Raises Unreachable."""
        addresses = await self._addresses(host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise Unreachable
        for address in addresses[:MOST_ADDRESSES]:
            try:
                return await _unbroken(self._dial(address, port))
            except Unreachable:
                continue
        raise Unreachable

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            return await self._resolve(host, port)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Refused: no URL leads to one."""
        raise Unreachable

    async def sleep(self, seconds: float) -> None:
        """Waits between two tries of the library."""
        await asyncio.sleep(seconds)


async def _unbroken(dialling: Coroutine[Any, Any, httpcore.AsyncNetworkStream]) -> httpcore.AsyncNetworkStream:
    """What it returns. Broken off in the middle, it would leave its connection open for ever: so it ends by itself."""
    task = asyncio.create_task(dialling)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_close_late)
        raise


def _close_late(task: asyncio.Task[httpcore.AsyncNetworkStream]) -> None:
    if not task.cancelled() and task.exception() is None:
        closing = asyncio.ensure_future(task.result().aclose())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()


class Connections(httpcore.AsyncNetworkBackend):
    """The connections of one fetch, all of which `close` closes: the library leaves one open that is broken off while
    TLS begins."""

    def __init__(self, network: httpcore.AsyncNetworkBackend) -> None:
        self._network = network
        self._streams: list[httpcore.AsyncNetworkStream] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As the network does it."""
        stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        self._streams.append(stream)
        return stream

    async def close(self) -> None:
        """Closes what is open."""
        for stream in self._streams:
            await stream.aclose()
        self._streams.clear()


class Resolver:
    """The host's own resolver, each name in a thread of its own, as a dead name server holds one up for long.

    The threads are daemons, as such a wait cannot be broken off, and must not hold up the end of the process either.

    Args:
        most: names that are looked up at the same time; while there are more, no host is reachable.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0

    async def __call__(self, host: str, port: int) -> list[Address]:
        if self._running >= self._most:
            raise Unreachable
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Address] | None] = loop.create_future()

        def end(addresses: list[Address] | None) -> None:
            self._running -= 1
            if not found.done():
                found.set_result(addresses)

        def work() -> None:
            addresses = _look_up(host, port)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(end, addresses)

        try:
            threading.Thread(target=work, name="resolve", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            raise Unreachable from None
        self._running += 1
        addresses = await found
        if addresses is None:
            raise Unreachable
        return addresses


def _look_up(host: str, port: int) -> list[Address] | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return [ipaddress.ip_address(str(entry[4][0])) for entry in found]


async def dial(address: Address, port: int) -> httpcore.AsyncNetworkStream:
    """A TCP connection to another machine. Raises Unreachable."""
    try:
        stream = await httpcore.AnyIOBackend().connect_tcp(str(address), port, timeout=CONNECT_SECONDS)
    except (httpcore.ConnectError, httpcore.ConnectTimeout):
        raise Unreachable from None
    if stream.get_extra_info("client_addr")[0] == stream.get_extra_info("server_addr")[0]:
        # A public address of this very machine: what listens there may be meant for it alone.
        await stream.aclose()
        raise Unreachable
    return stream
