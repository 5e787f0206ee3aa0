"""Text from tokens, as they come."""

from __future__ import annotations

from typing import Protocol

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Detokenizer(Protocol):
    """Turns the tokens of one output into text; `lightllm_rs._core.Detokenizer` is one.

    `push` returns what became certain: a character whose bytes are not all there is held back, so the text never
    ends in half a character. `finish` returns what is left, with U+FFFD for bytes that are no text.
    """

    def push(self, token: int, /) -> str: ...

    def finish(self) -> str: ...


class StreamDetokenizer:
    """For decoders that look at neighbours: `tokenizers`' own stream, which decodes a short window at each token."""

    __slots__ = ("_stream", "_tokenizer")

    def __init__(self, tokenizer: Tokenizer, skip_special: bool) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=skip_special)

    def push(self, token: int, /) -> str:
        """The text that `token` makes certain."""
        return self._stream.step(self._tokenizer, token) or ""

    def finish(self) -> str:
        """Nothing: such decoders have no bytes to hold back."""
        return ""
