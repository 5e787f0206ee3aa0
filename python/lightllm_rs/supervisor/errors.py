"""Why the service ends with a non-zero code."""

from __future__ import annotations


class ServiceError(Exception):
    """The service cannot start, or cannot go on; the message is one line that says what to do."""


class Interrupted(Exception):
    """A signal asked for the end before there was anything to stop."""
