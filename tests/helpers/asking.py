"""Chats with pictures, each in a thread of its own, and what the service says of itself meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import httpx

from helpers.metrics_page import metric
from helpers.seeing_service import image_part, noise, text_part

SECONDS = 600.0
"""Until a request that has no answer hangs."""


class Ask(threading.Thread):
    """A chat in a thread of its own.

    Attributes:
        status: of the answer; 0 if the connection broke.
        text, headers: of the answer.
    """

    def __init__(self, url: str, content: Any, tokens: int = 2, timeout: float = SECONDS) -> None:
        super().__init__(daemon=True)
        self.status, self.text = 0, ""
        self.headers = httpx.Headers()
        self._body = {"messages": [{"role": "user", "content": content}], "max_tokens": tokens, "ignore_eos": True}
        self._url, self._timeout = url, timeout
        self.start()

    def run(self) -> None:
        try:
            answer = httpx.post(f"{self._url}/v1/chat/completions", json=self._body, timeout=self._timeout)
            self.status, self.text, self.headers = answer.status_code, answer.text, answer.headers
        except httpx.HTTPError as error:
            self.text = repr(error)


@contextmanager
def leaving(url: str, content: Any) -> Iterator[None]:
    """A chat whose caller leaves at the end of the block."""
    body = {"messages": [{"role": "user", "content": content}]}
    with closing(HTTPConnection(httpx.URL(url).netloc.decode())) as caller:
        caller.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        yield


def picture(seed: int) -> list[dict[str, Any]]:
    """A prompt with a picture that no other seed has."""
    return [text_part("See "), image_part(noise(60, 40, seed))]


def waits(url: str, name: str, value: float) -> Callable[[], bool]:
    """Whether a metric has this value."""
    return lambda: metric(url, name) == value


def join(asked: Sequence[Ask]) -> None:
    """Waits for all of them."""
    for one in asked:
        one.join(timeout=SECONDS)
        assert not one.is_alive(), "a request hangs"


def serves(url: str, seed: int) -> Callable[[], bool]:
    """Whether a new chat with a picture is served; else it is refused for the time being."""

    def served() -> bool:
        again = Ask(url, picture(seed))
        join([again])
        assert again.status in (200, 503), again.text
        return again.status == 200

    return served
