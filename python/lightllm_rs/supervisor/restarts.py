"""When to give up, and how long to wait before the next try."""

from __future__ import annotations

MOST_FAILURES = 3
SERVICE_SECONDS = 60.0
LONGEST_PAUSE = 60.0


class _History:
    """Failures of one part of the service.

    Attributes:
        failures: since it has last served for a minute.
    """

    def __init__(self) -> None:
        self.failures = 0

    def failed(self, served_seconds: float) -> None:
        """One more, after so much service."""
        self.failures = 1 if served_seconds >= SERVICE_SECONDS else self.failures + 1


class Restarts(_History):
    """Of router and backends together, or of one of the other processes."""

    def give_up(self, served_seconds: float) -> bool:
        """Counts a failure after so much service; True at the third without 60 s of service between them."""
        self.failed(served_seconds)
        return self.failures >= MOST_FAILURES


class BackOff(_History):
    """Of one process that is never given up."""

    def pause(self, served_seconds: float) -> float:
        """Counts a failure after so much service; seconds until the next try: none at first, then 1, 2, 4 ... 60."""
        self.failed(served_seconds)
        return 0.0 if self.failures == 1 else min(LONGEST_PAUSE, 2.0 ** min(self.failures - 2, 10))
