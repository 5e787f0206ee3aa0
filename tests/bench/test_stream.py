"""The client's reading of streams, and its connections."""

from __future__ import annotations

import asyncio

import pytest

from lightllm_rs.bench.outcome import Outcome, Prompt
from lightllm_rs.bench.stream import Connection, Connections
from lightllm_rs.bench.target import Target


def test_an_event_may_come_in_pieces() -> None:
    connection = Connection()
    connection._status = 200
    connection._outcome = Outcome(1.0)
    pieces = [
        b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
        b'data: {"choices":[{"te',
        b'xt":"a"}]}\n\nda',
        b'ta: {"choices":[{"text":"the \\"error\\" is"}]}\n\n: keep-alive\n',
        b'\ndata: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":9}}\n\ndata: [DONE]\n\n',
    ]
    for piece in pieces:
        connection.on_body(piece)
    outcome = connection._finished()
    assert outcome.error == ""
    assert (outcome.prompt_tokens, outcome.output_tokens, len(outcome.gaps)) == (4, 9, 1)


def test_other_ways_to_write_events() -> None:
    connection = Connection()
    connection._status = 200
    connection._outcome = Outcome(1.0)
    for piece in (
        b'data:{"choices":[{"text":"a"}]}\r\n\r',
        b'\ndata:{"choices":[{"text":"b"}]}\r\n\r\n',
        b"data:[DONE]\r\n\r\n",
    ):
        connection.on_body(piece)
    outcome = connection._finished()
    assert (outcome.error, outcome.output_tokens, len(outcome.gaps)) == ("", 2, 1)


EVENT = b'data: {"choices":[{"text":"a"}]}\n\n'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(EVENT), EVENT)


@pytest.mark.parametrize("close_after", [0.0, 0.1, 60.0])
def test_connections_that_the_server_closes_are_made_again(close_after: float) -> None:
    """A server that keeps a connection open for some time, or closes it as the second request comes (0)."""
    opened: list[asyncio.StreamWriter] = []
    ended: asyncio.Semaphore

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        served = 0
        try:
            while True:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), (served and close_after) or 60.0)
                if served and not close_after:
                    break
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                writer.write(ANSWER)
                served += 1
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            ended.release()

    async def run() -> list[Outcome]:
        nonlocal ended
        ended = asyncio.Semaphore(0)
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        target = Target("127.0.0.1", server.sockets[0].getsockname()[1], False, "/v1/completions", "m")
        connections, found = Connections(target, 60.0), []
        for _ in range(3):
            found.append(await connections.ask(Prompt("x", 1, 1)))
            await asyncio.sleep(0.3)
        connections.close()
        for _ in opened:
            await ended.acquire()
        server.close()
        await server.wait_closed()
        return found

    found = asyncio.run(run())
    assert [outcome.error for outcome in found] == ["", "", ""]
    assert len(opened) == (1 if close_after == 60.0 else 3)


def test_an_error_in_the_stream_is_a_failure() -> None:
    connection = Connection()
    connection._status = 200
    connection._outcome = Outcome(1.0)
    connection.on_body(b'data: {"choices":[{"text":"a"}]}\n\ndata: {"error":{"message":"out of pages"}}\n\n')
    assert connection._finished().error == "out of pages"
