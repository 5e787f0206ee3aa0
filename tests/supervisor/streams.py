"""Requests in flight, for tests that take something away from under them."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx


class Stream:
    """One streamed completion, read in a thread.

    Attributes:
        chunks: pieces of text that have arrived.
        error: how it failed: the message of an error event, or of the connection's end; "" while all is well.
        finish: its finish reason, once it has one.
    """

    def __init__(self, url: str, max_tokens: int, prompt: str = "The quick brown fox") -> None:
        self.chunks = 0
        self.error = ""
        self.finish = ""
        self._body = {"model": "tiny", "prompt": prompt, "max_tokens": max_tokens, "stream": True, "ignore_eos": True}
        self._url = url
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            with httpx.stream("POST", f"{self._url}/v1/completions", json=self._body, timeout=60) as response:
                if response.status_code != 200:
                    self.error = f"status {response.status_code}"
                for line in response.iter_lines():
                    if line.startswith("data: {"):
                        self._take(json.loads(line[6:]))
        except httpx.HTTPError as error:
            self.error = self.error or f"{type(error).__name__} {error}"
        if not self.error and not self.finish:
            self.error = "ended without a word"

    def _take(self, event: dict[str, Any]) -> None:
        if "error" in event:
            self.error = event["error"]["message"]
        else:
            self.chunks += 1
            self.finish = event["choices"][0]["finish_reason"] or self.finish


def complete(url: str, max_tokens: int = 4) -> httpx.Response:
    """A short completion that is not streamed."""
    body = {"model": "tiny", "prompt": "A server answers", "max_tokens": max_tokens, "ignore_eos": True}
    return httpx.post(f"{url}/v1/completions", json=body, timeout=60)


def completes(url: str) -> bool:
    """Whether a short completion comes back well."""
    try:
        return complete(url).status_code == 200
    except httpx.HTTPError:
        return False
