"""What clients do on a connection besides sending one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from lightllm_rs.http import server
from lightllm_rs.http.server import MAX_HEAD_BYTES, BoundedProtocol

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
PIECES, PAUSE = 6, 0.05


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """A stream of six pieces in 0.3 seconds."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(PIECES):
        await send({"type": "http.response.body", "body": b"piece%d" % number, "more_body": True})
        await asyncio.sleep(PAUSE)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def talk(act: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]) -> bytes:
    """What a client reads that does `act` on a connection to `slow`."""

    async def main() -> bytes:
        config = uvicorn.Config(slow, http=BoundedProtocol, lifespan="off", log_config=None, access_log=False)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: BoundedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        try:
            return await asyncio.wait_for(act(reader, writer), 60)
        finally:
            writer.close()
            listener.close()
            for _ in range(3000):
                if not state.tasks and not state.connections:
                    break
                await asyncio.sleep(0.02)

    return asyncio.run(main())


@pytest.mark.parametrize("tail", [b"\r\n", b"POST / HT"])
def test_bytes_behind_a_body_do_not_end_a_stream(monkeypatch: pytest.MonkeyPatch, tail: bytes) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(POST)
        begin = await reader.readuntil(b"piece0")
        monkeypatch.setattr(server, "HEAD_SECONDS", 0.1)  # now: the first head may be late on a slow machine
        writer.write(tail)
        return begin + await reader.readuntil(b"0\r\n\r\n")

    answer = talk(act)
    assert all(b"piece%d" % number in answer for number in range(PIECES))


def test_a_head_that_does_not_end_is_cut_off_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(POST)
        first = await reader.readuntil(b"0\r\n\r\n")
        monkeypatch.setattr(server, "HEAD_SECONDS", 0.1)
        writer.write(POST + b"POST / HT")
        return first + await reader.read(-1)

    answers = talk(act)
    assert answers.count(b"HTTP/1.1 200") == answers.count(b"0\r\n\r\n") == 2
    assert answers.endswith(b"0\r\n\r\n")


def test_what_is_not_http_behind_a_body_puts_no_head_into_the_answer() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(POST)
        begin = await reader.readuntil(b"piece0")
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        return begin + await reader.read(-1)

    assert talk(act).count(b"HTTP/1.1") == 1


def test_line_breaks_between_requests() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(POST + b"\r\n")
        begin = await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"\r\n")
        await asyncio.sleep(0.05)
        writer.write(POST)
        return begin + await reader.readuntil(b"0\r\n\r\n")

    assert talk(act).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("long", ["header", "headers", "url"])
def test_a_long_head_in_one_read(long: str) -> None:
    size = MAX_HEAD_BYTES + 4096
    head = {
        "header": b"GET / HTTP/1.1\r\nX: " + b"x" * size,
        "headers": b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * (size // 5) + b"Host: x",
        "url": b"GET /" + b"x" * size + b" HTTP/1.1\r\nHost: x",
    }[long]

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(head + b"\r\n\r\n")
        return await reader.read(-1)

    answer = talk(act)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"too long" in answer
