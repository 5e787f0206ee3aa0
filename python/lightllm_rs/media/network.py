"""Connections to the public internet: the address that was checked is the one that is connected to.

One object resolves, checks and connects, for every connection anew. So a name whose address changes between two
questions (DNS rebinding) gains nothing, and neither does a redirect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore

from lightllm_rs.media.addresses import Address, is_public

CONNECT_SECONDS = 3.0
"""For one address, so that a host with one dead address is still reached in time."""

MOST_ADDRESSES = 4
"""Addresses of one host that are tried."""

Resolve = Callable[[str, int], Awaitable[list[Address]]]
"""Host name and port -> its addresses. Raises Unreachable."""

Dial = Callable[[Address, int], Awaitable[httpcore.AsyncNetworkStream]]
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
                return await self._dial(address, port)
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


class Resolver:
    """The host's own resolver, in threads of its own: a name server that does not answer holds up no tokenising.

    Args:
        threads: names that are looked up at the same time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "resolve")

    async def __call__(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError):
            raise Unreachable from None
        return [ipaddress.ip_address(str(entry[4][0])) for entry in found]

    def close(self) -> None:
        """Ends the threads that have nothing to do."""
        self._threads.shutdown(wait=False, cancel_futures=True)


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
