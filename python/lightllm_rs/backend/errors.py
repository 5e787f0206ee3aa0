"""Errors of the backend process."""

from __future__ import annotations


class BackendError(Exception):
    """The backend cannot start; the message is one line that says what to do."""


class PlanError(Exception):
    """Router and backend disagree about the state: a broken invariant, so the process ends loudly."""


class StepError(Exception):
    """One step failed (out of memory, say) and the backend's state is still sound; the message is for the callers."""
