"""When to give up."""

from __future__ import annotations

MOST_FAILURES = 3
SERVICE_SECONDS = 60.0


class Restarts:
    """Failures of one part of the service: router and backends together, or one of the other processes."""

    def __init__(self) -> None:
        self._failures = 0

    def give_up(self, served_seconds: float) -> bool:
        """Counts a failure after so much service; True at the third without 60 s of service between them."""
        self._failures = 1 if served_seconds >= SERVICE_SECONDS else self._failures + 1
        return self._failures >= MOST_FAILURES
