"""What can go wrong with a benchmark as a whole."""

from __future__ import annotations


class BenchError(Exception):
    """The benchmark cannot run or nothing came of it; the message is one line that says what to do."""
