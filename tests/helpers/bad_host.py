"""A web server that misbehaves, and a network whose names lead to it: for tests of the fetcher."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

import httpcore

from lightllm_rs.media.addresses import Address
from lightllm_rs.media.network import PublicNetwork, Unreachable

PUBLIC = "93.184.216.34"

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, *fields: str, status: str = "200 OK", length: int | None = None) -> Reply:
    """A whole answer; `length` lies about the body's."""

    async def write(out: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
        out.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        await out.drain()

    return write


def redirect(target: str, status: str = "302 Found") -> Reply:
    """An answer that leads elsewhere."""
    return answer(b"", f"Location: {target}", status=status)


def raw(data: bytes) -> Reply:
    """Any bytes at all."""

    async def write(out: asyncio.StreamWriter) -> None:
        out.write(data)
        await out.drain()

    return write


def endless(head: bytes, part: bytes, pause: float = 0.0) -> Reply:
    """An answer that never ends."""

    async def write(out: asyncio.StreamWriter) -> None:
        out.write(head)
        while True:
            out.write(part)
            await out.drain()
            await asyncio.sleep(pause)

    return write


async def silent(out: asyncio.StreamWriter) -> None:
    """An answer that never begins."""
    await asyncio.sleep(3600)


def bomb() -> Reply:
    """An answer that is short while it is compressed."""
    return answer(gzip.compress(b"\0" * (8 << 20)), "Content-Encoding: gzip")


class BadHost:
    """The server, and the network in which every public address is its own.

    Attributes:
        pages: path -> answer.
        names: host name -> the addresses that its name server gives, one list a question; the last one stays.
        asked: request heads as they came.
        dialled: addresses that were connected to.
        most: connections that were open at the same time, at most.
    """

    def __init__(self) -> None:
        self.pages: dict[str, Reply] = {}
        self.names: dict[str, list[list[str]]] = {"pictures.example": [[PUBLIC]]}
        self.asked: list[str] = []
        self.dialled: list[str] = []
        self.open = 0
        self.most = 0
        self.port = 0
        self._dialling = 0
        self._changed = asyncio.Event()
        self.network = PublicNetwork(self._resolve, self._dial)

    async def _resolve(self, host: str, port: int) -> list[Address]:
        answers = self.names.get(host)
        if answers is None:
            raise Unreachable
        return [ip_address(text) for text in (answers.pop(0) if len(answers) > 1 else answers[0])]

    async def _dial(self, address: Address, port: int) -> httpcore.AsyncNetworkStream:
        self.dialled.append(str(address))
        if str(address) == "203.0.114.1":
            raise Unreachable  # a public address where nobody listens
        self._dialling += 1
        try:
            return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port)
        finally:
            self._dialling -= 1
            self._changed.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, with one request."""
        self._count(1)
        tasks: list[asyncio.Task[object]] = []
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            reply = self.pages.get(head.split(" ")[1], answer(b"", status="404 Not Found"))
            tasks = [asyncio.create_task(self._reply(reply, writer)), asyncio.create_task(reader.read())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the fetcher has left, as it should
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._count(-1)
            writer.close()

    async def stare(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection in which nothing is said."""
        self._count(1)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        self._count(-1)
        writer.close()

    async def _reply(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        await reply(writer)

    def _count(self, change: int) -> None:
        self.open += change
        self.most = max(self.most, self.open)
        self._changed.set()

    async def until(self, connections: int) -> None:
        """Until so many connections are open."""
        while self.open != connections:
            self._changed.clear()
            await self._changed.wait()

    async def settled(self) -> None:
        """Until no connection is being made; those that nobody wants any more are closed then."""
        while self._dialling:
            self._changed.clear()
            await self._changed.wait()
        for _ in range(10):
            await asyncio.sleep(0)


@asynccontextmanager
async def bad_host(tls: ssl.SSLContext | None = None, begins: bool = True) -> AsyncIterator[BadHost]:
    """A running one. Unless it `begins`, it takes connections and says nothing."""
    host = BadHost()
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(host.serve(reader, writer) if begins else host.stare(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        await host.settled()
        server.close()
        for task in list(connections):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
