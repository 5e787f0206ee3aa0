"""Streams that have something to write."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

log = logging.getLogger(__name__)


class Writer(Protocol):
    """A stream; both methods are called on the event loop."""

    def write_new(self, now: float) -> None:
        """Writes what is new, at `time.monotonic()` `now`."""
        ...

    def break_off(self) -> None:
        """It could not write."""
        ...


class Outbox:
    """Lets streams write once all frames that have come are taken in: once a stream, however many steps those were."""

    def __init__(self) -> None:
        self._writers: list[Writer] = []

    def add(self, writer: Writer) -> None:
        """Its turn comes soon. To be called once a turn."""
        if not self._writers:
            asyncio.get_running_loop().call_soon(self._flush)
        self._writers.append(writer)

    def _flush(self) -> None:
        writers, self._writers = self._writers, []
        now = time.monotonic()
        for writer in writers:
            try:
                writer.write_new(now)
            except Exception:  # a fault in one answer must not cost the others theirs
                log.exception("the output of a request could not be written")
                writer.break_off()
