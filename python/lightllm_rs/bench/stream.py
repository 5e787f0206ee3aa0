"""One streamed request over a connection that may be used again, so cheaply that one process drives many of them.

The body goes through httptools (the parser of uvicorn, in C); of an event only its first bytes are looked at, and JSON
is parsed only where an event is the last one or an error.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httptools

from lightllm_rs.bench.outcome import Outcome, Prompt
from lightllm_rs.bench.target import Target

EVENT_END = b"\n\n"
DATA = b"data:"
DONE = (b"data: [DONE]", b"data:[DONE]")
NO_TEXT = (b'"choices":[]', b'"choices": []', b'"role":"assistant","content":""', b'"role": "assistant", "content": ""')
"""Marks of events that bring no text: the usage at the end, and the role at the beginning of a chat."""

LONGEST_ERROR = 400


class Connection(asyncio.Protocol):
    """One connection to the server, for one request at a time.

    Attributes:
        reusable: the last answer ended and the server keeps the connection open.
        answered: anything came for the last request.
    """

    def __init__(self) -> None:
        self.reusable = False
        self.answered = False
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] | None = None
        self._outcome = Outcome(0.0)
        self._rest = b""
        self._error_body = b""
        self._status = 0
        self._parser: Any = None

    async def ask(self, request: bytes, prompt: Prompt) -> Outcome:
        """Sends a request and reads its answer to the end. Never raises for what the server does."""
        assert self._transport is not None, "not connected"
        self._ended = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._rest, self._error_body, self._status = b"", b"", 0
        self.reusable = self.answered = False
        self._outcome = Outcome(time.perf_counter(), prompt_tokens=prompt.tokens)
        self._transport.write(request)
        await self._ended
        return self._finished()

    def close(self) -> None:
        """Drops the connection."""
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # both ways; uvloop's is no asyncio.Transport

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        self.answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the answer is no HTTP: {error}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        self._fail(f"the connection was lost: {exc}" if exc else "the server closed the connection")

    # Called by httptools.

    def on_body(self, body: bytes) -> None:
        if self._status == 0:
            self._status = self._parser.get_status_code()
        if self._status != 200:
            self._error_body += body
            return
        now = time.perf_counter()
        data = self._rest + body if self._rest else body
        if b"\r" in data:  # some servers end lines so; in JSON it is escaped
            data = data.replace(b"\r\n", b"\n")
        *events, self._rest = data.split(EVENT_END)
        for event in events:
            self._take(event, now)

    def on_message_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self.reusable = self._parser.should_keep_alive()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _take(self, event: bytes, now: float) -> None:
        if not event.startswith(DATA) or event.startswith(DONE):
            return  # a comment, or the end
        outcome = self._outcome
        if b'"error"' in event or b'"usage":{' in event or b'"usage": {' in event:
            self._take_parsed(event, outcome)
        if outcome.error or any(mark in event for mark in NO_TEXT):
            return
        if outcome.first:
            outcome.gaps.append(now - outcome.last)
        else:
            outcome.first = now
        outcome.last = now

    def _take_parsed(self, event: bytes, outcome: Outcome) -> None:
        try:
            parsed = json.loads(event[len(DATA) :])
        except ValueError:
            outcome.error = f"an event is no JSON: {event[:LONGEST_ERROR]!r}"
            return
        if parsed.get("error"):
            outcome.error = _message(parsed["error"])
        usage = parsed.get("usage")
        if usage:
            outcome.output_tokens = usage["completion_tokens"]
            outcome.prompt_tokens = usage["prompt_tokens"]

    def _fail(self, error: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._outcome.error = self._outcome.error or error
            self._ended.set_result(None)

    def _finished(self) -> Outcome:
        outcome = self._outcome
        if self._status not in (0, 200) and not outcome.error:
            outcome.error = f"status {self._status}: {_body_message(self._error_body)}"
        elif not outcome.first and not outcome.error:
            outcome.error = "the answer has no text"
        if not outcome.error and not outcome.output_tokens:
            outcome.output_tokens = 1 + len(outcome.gaps)
        return outcome


def _body_message(body: bytes) -> str:
    try:
        return _message(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return body[:LONGEST_ERROR].decode(errors="replace") or "no reason given"


def _message(error: Any) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)[:LONGEST_ERROR]


class Connections:
    """Connections to one server that are kept for further requests.

    Args:
        timeout: seconds that a request may take.
    """

    def __init__(self, target: Target, timeout: float) -> None:
        self._target, self._timeout = target, timeout
        self._context = target.ssl_context()
        self._idle: list[Connection] = []

    async def ask(self, prompt: Prompt) -> Outcome:
        """One request; what goes wrong stands in the outcome."""
        request = self._target.request(prompt)
        began = time.perf_counter()
        try:
            outcome = await asyncio.wait_for(self._ask(request, prompt), self._timeout)
        except asyncio.TimeoutError:
            outcome = Outcome(began, error=f"no answer within {self._timeout:g} s")
        except OSError as error:
            outcome = Outcome(began, error=f"cannot connect to {self._target.host}:{self._target.port}: {error}")
        outcome.began = began
        return outcome

    async def _ask(self, request: bytes, prompt: Prompt) -> Outcome:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                outcome = await self._ask_by(connection, request, prompt)
                if connection.answered:
                    return outcome
                break  # the server closed it as the request went out: nothing was done with it
        return await self._ask_by(await self._connect(), request, prompt)

    async def _ask_by(self, connection: Connection, request: bytes, prompt: Prompt) -> Outcome:
        try:
            outcome = await connection.ask(request, prompt)
        except asyncio.CancelledError:
            connection.close()
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return outcome

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        target = self._target
        _, connection = await loop.create_connection(Connection, target.host, target.port, ssl=self._context)
        return connection

    def close(self) -> None:
        """Drops all."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
