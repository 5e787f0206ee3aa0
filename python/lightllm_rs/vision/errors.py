"""Errors that are the caller's fault; the messages say what to do."""

from __future__ import annotations


class PictureError(ValueError):
    """A picture that the model cannot take."""


class PromptError(ValueError):
    """A prompt and pictures that do not belong together."""
