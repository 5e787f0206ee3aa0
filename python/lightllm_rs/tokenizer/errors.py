"""What can go wrong with a tokenizer or a chat template."""

from __future__ import annotations


class TokenizerError(Exception):
    """The tokenizer of a model cannot be built. The message is one line that says what to do."""


class ChatTemplateError(Exception):
    """A chat template refused its messages, or cannot be rendered. The message is for the caller of the API."""
