"""The line for each request, written for many requests at once."""

from __future__ import annotations

import asyncio
import logging
import sys

NAME = "lightllm_rs.http.access"

LATE_SECONDS = 0.05
"""A line is written so long after its request: a write for each would be a tenth of what a short request costs."""


class LateLines(logging.Handler):
    """Collects lines on the event loop and writes them to standard error together."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """A line, for later."""
        if not self._lines:
            asyncio.get_running_loop().call_later(LATE_SECONDS, self.flush)
        self._lines.append(self.format(record))

    def flush(self) -> None:
        """Writes what was collected."""
        if self._lines:
            lines, self._lines = self._lines, []
            sys.stderr.write("\n".join(lines) + "\n")
            sys.stderr.flush()


def open_access_log() -> LateLines:
    """Lets the lines of requests be written late, in the format of all others."""
    lines = LateLines()
    for handler in logging.getLogger().handlers:
        lines.setFormatter(handler.formatter)
    logger = logging.getLogger(NAME)
    logger.addHandler(lines)
    logger.propagate = False
    return lines
