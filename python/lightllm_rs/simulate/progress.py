"""A bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

WIDTH = 32


class Bar:
    """How far the cells of a sweep are, together."""

    def __init__(self, cells: int, stream: TextIO | None = None) -> None:
        self._done: Sequence[float] = [0.0] * cells
        self._requests: list[int] = [0] * cells
        self._stream = sys.stderr if stream is None else stream
        self._shown = False
        self.visible = self._stream.isatty()

    def __call__(self, index: int, done: float, requests: int, _simulated_seconds: float) -> None:
        """The engine's progress."""
        if not self.visible:
            return
        self._done = [*self._done[:index], done, *self._done[index + 1 :]]
        self._requests[index] = requests
        part = sum(self._done) / len(self._done)
        finished = sum(one >= 1 for one in self._done)
        bar = ("#" * round(WIDTH * part)).ljust(WIDTH, ".")
        text = f"[{bar}] {100 * part:3.0f} %  {finished} of {len(self._done)} cells  {sum(self._requests):,} requests"
        self._stream.write(f"\r\x1b[K{text}")
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Takes the bar away."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False
