"""What can be wrong with a model on disk. Every message is one line that says what to do."""

from __future__ import annotations


class CheckpointError(Exception):
    """The model cannot be found or read: missing, truncated, corrupt, or its config is not valid."""


class UnsupportedModel(CheckpointError):
    """The model is well formed, but asks for arithmetic that is not built (architecture, RoPE type, quantisation)."""
