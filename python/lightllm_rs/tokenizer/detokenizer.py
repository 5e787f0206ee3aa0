"""Text from tokens, as they come."""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Detokenizer(Protocol):
    """Turns the tokens of one output into text.

    `push` returns what became certain: a character whose bytes are not all there is held back, so the text never
    ends in half a character. `finish` returns what is left, with U+FFFD for bytes that are no text.
    """

    def push(self, token: int) -> str: ...

    def finish(self) -> str: ...


class Pieces:
    """Bytes and text of single tokens, worked out when first seen and kept.

    Args:
        tokenizer: knows the letters of each id.
        to_bytes: from letters to bytes.
        special: ids that `skip_special_tokens` leaves out.
    """

    def __init__(self, tokenizer: Tokenizer, to_bytes: Callable[[str], bytes], special: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._to_bytes = to_bytes
        self._bytes: dict[int, bytes] = {}
        self.special = special
        self.text: dict[int, str] = {}  # tokens that are text on their own, special ones included

    def bytes_of(self, token: int) -> bytes:
        """Bytes of a token; none for an id that the vocabulary lacks (models pad theirs)."""
        piece = self._bytes.get(token)
        if piece is None:
            letters = self._tokenizer.id_to_token(token)
            piece = b"" if letters is None else self._to_bytes(letters)
            self._bytes[token] = piece
            with suppress(UnicodeDecodeError):  # part of a character, which needs its neighbours
                self.text[token] = piece.decode()
        return piece


class PieceDetokenizer:
    """For vocabularies whose tokens have bytes of their own: a dictionary look-up a token."""

    __slots__ = ("_pending", "_pieces", "_skip", "_text")

    def __init__(self, pieces: Pieces, skip_special: bool) -> None:
        self._pieces = pieces
        self._text = pieces.text
        self._skip = pieces.special if skip_special else frozenset()
        self._pending = b""

    def push(self, token: int) -> str:
        """The text that `token` makes certain."""
        if token in self._skip:
            return ""
        if not self._pending:
            text = self._text.get(token)
            if text is not None:
                return text
        data = self._pending + self._pieces.bytes_of(token)
        text, used = utf_8_decode(data, "replace", False)
        self._pending = data[used:]
        return text

    def finish(self) -> str:
        """The text of the bytes that were held back."""
        text = self._pending.decode(errors="replace")
        self._pending = b""
        return text


class StreamDetokenizer:
    """For all other decoders: `tokenizers`' own stream, which decodes a short window again at each token."""

    __slots__ = ("_stream", "_tokenizer")

    def __init__(self, tokenizer: Tokenizer, skip_special: bool) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=skip_special)

    def push(self, token: int) -> str:
        """The text that `token` makes certain."""
        return self._stream.step(self._tokenizer, token) or ""

    def finish(self) -> str:
        """Nothing: such decoders have no bytes to hold back."""
        return ""
