"""The HTTP process's side of the conversation with the router."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lightllm_rs._core import FrameError, News, TextOutput, TextStreams
from lightllm_rs.http.errors import ApiError, internal, of_failure, unavailable
from lightllm_rs.messages import requests
from lightllm_rs.messages.frames import PROTOCOL, BadFrame, encode, pack_u32
from lightllm_rs.messages.sockets import AsyncDealer

if TYPE_CHECKING:
    from lightllm_rs.http.sampling import Wishes
    from lightllm_rs.messages.images import ImageSpan

log = logging.getLogger(__name__)

RECEIVED_BYTES = 1 << 16
"""The router hears how much was taken in after so many bytes, and at each `tick`."""


class Sink(Protocol):
    """What waits for the output of one request; both methods are called on the event loop.

    Attributes:
        number: of the request at the router.
        output: takes its rows.
    """

    number: int
    output: TextOutput

    def moved(self, ended: bool) -> None:
        """The output has something new; with `ended` it is the last, and until the next `look` nothing is said."""
        ...

    def fail(self, error: ApiError) -> None:
        """The request has ended without an answer."""
        ...


class Engine:
    """Requests under way at the router.

    Args:
        process: name of this HTTP process, such as "http-0".

    Attributes:
        limits: what the router said in its hello; None while there is no engine.
        bad_frames: frames that did not decode.
        streams: makes the text of all outputs.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._dealer: AsyncDealer | None = None
        self._sinks: dict[int, Sink] = {}
        self.streams = TextStreams()
        self._next = 1
        self._taken = 0
        self._reported = 0
        self._context = 0
        self.reason = "the model is loading"
        self.limits: requests.RouterHello | None = None
        self.bad_frames = 0

    @property
    def running(self) -> int:
        """Requests that have not ended."""
        return len(self._sinks)

    def connect(self, endpoint: str) -> None:
        """A router is up. Requests are taken once it has answered the hello."""
        self.disconnect("the engine was restarted")
        self._taken = self._reported = 0
        self._dealer = AsyncDealer(endpoint, f"{self._process}.{os.getpid()}", self._on_frame)
        self._dealer.send(encode(requests.ClientHello(PROTOCOL, self._process)))

    def disconnect(self, reason: str) -> None:
        """The router or a backend is gone: everything under way fails now."""
        self.limits = None
        self.reason = reason
        if self._dealer is not None:
            self._dealer.close()
            self._dealer = None
        sinks, self._sinks = self._sinks, {}
        for number, sink in sinks.items():
            self.streams.close(number)
            sink.fail(unavailable(f"the request was lost: {reason}", "engine_lost"))

    def ready(self) -> requests.RouterHello:
        """The engine's limits. Raises ApiError 503 while there is no engine."""
        if self.limits is None:
            raise unavailable(self.reason)
        return self.limits

    def submit(
        self,
        sinks: Sequence[Sink],
        prompt: list[int],
        max_tokens: int,
        wishes: Wishes,
        waited: float,
        images: Sequence[ImageSpan] = (),
        position_offset: int = 0,
    ) -> None:
        """Queues all choices of a prompt at the router, and numbers them. Raises ApiError 503 while there is no engine.

        Args:
            sinks: of the choices, `wishes.n` of them.
            waited: seconds since the request's arrival.
            images, position_offset: of the prompt, as in `requests.Add`.
        """
        self.ready()
        assert self._dealer is not None, "limits are known only while there is a socket"
        standing = wishes.standing
        for number, sink in enumerate(sinks, self._next):
            sink.number = number
            self._sinks[number] = sink
            self.streams.open(number, sink.output)
        first = self._next
        self._next += len(sinks)
        add = requests.Add(
            first,
            pack_u32(prompt),
            max_tokens,
            wishes.sampling,
            wishes.cache_salt,
            priority=standing.priority,
            deadline_ms=standing.deadline_left(waited),
            tenant=standing.tenant,
            class_label=standing.class_label,
            siblings=[requests.Sibling(number, seed) for number, seed in enumerate(wishes.sibling_seeds, first + 1)],
            images=list(images),
            position_offset=position_offset,
        )
        self._dealer.send(encode(add))

    def image_ready(self, numbers: list[int], image: int) -> None:
        """Image number `image` of the prompt of these choices is there."""
        if self._dealer is not None:
            for number in numbers:
                if number in self._sinks:
                    self._dealer.send(encode(requests.ImageReady(number, image)))

    def abort(self, numbers: list[int]) -> None:
        """Nobody wants these requests any more; nothing more is said about them."""
        live = [number for number in numbers if self._sinks.pop(number, None) is not None]
        for number in live:
            self.streams.close(number)
        self._send_abort(live)

    def _send_abort(self, live: list[int]) -> None:
        if live and self._dealer is not None:
            self._dealer.send(encode(requests.Abort(live)))

    def tick(self) -> None:
        """Called about once a second."""
        if self._taken != self._reported:
            self._report()

    def _report(self) -> None:
        if self._dealer is not None:
            self._reported = self._taken
            self._dealer.send(encode(requests.Received(self._taken)))

    def _on_frame(self, frame: bytes) -> None:
        self._taken += len(frame)
        try:
            news = self.streams.feed(frame, time.perf_counter())
            message = None if news is not None else requests.router_decoder.decode(frame)
        except (FrameError, BadFrame) as error:
            self.bad_frames += 1
            log.error("a frame of the router does not decode and was dropped: %s", error)
            return
        except RuntimeError as error:  # what all streams rest on is broken: the supervisor starts this process again
            raise SystemExit(str(error)) from error
        if news is not None:
            self._tell(news)
        elif isinstance(message, requests.Failed):
            sink = self._sinks.pop(message.request, None)
            if sink is not None:
                self.streams.close(message.request)
                sink.fail(of_failure(message.kind, message.message, message.retry_after))
        elif isinstance(message, requests.RouterHello):
            self._taken -= len(frame)  # the router counts what comes after its hello
            self._hello(message)
            return
        if self._taken - self._reported >= RECEIVED_BYTES:
            self._report()

    def _tell(self, news: News) -> None:
        """Says to those who wait what has become of their requests."""
        ended = set(news.ended)
        for number in news.moved:
            last = number in ended
            sink = self._sinks.pop(number, None) if last else self._sinks.get(number)
            if sink is not None:  # else the fault of a sibling has ended it
                sink.moved(last)
        self._send_abort(news.stopped)
        for number, fault in news.faults:
            log.error("the output of a request could not be taken in: %s", fault)
            self._send_abort([number])
            sink = self._sinks.pop(number, None)
            if sink is not None:
                sink.fail(internal())

    def _hello(self, message: requests.RouterHello) -> None:
        if message.protocol != PROTOCOL:
            self.reason = f"the router speaks version {message.protocol} of the wire, and this process {PROTOCOL}"
            log.error("%s", self.reason)
            return
        self.limits = message

    def close(self) -> None:
        """Ends the conversation."""
        self.disconnect("the server is stopping")
