"""The bytes of each token, so that a text can be put together token by token.

Byte-level vocabularies (GPT-2's alphabet) and SentencePiece's with byte fallback give each token bytes that do not
depend on its neighbours. Other decoders do not; for them `pieces_of` says None.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer


def _alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes: printable bytes stand for themselves, the rest are moved up from 256."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    letters.update({chr(256 + number): byte for number, byte in enumerate(others)})
    return letters


ALPHABET = _alphabet()


def byte_level(token: str) -> bytes:
    """Bytes of a token in GPT-2's letters; a token with any other letter stands for itself."""
    try:
        return bytes([ALPHABET[letter] for letter in token])
    except KeyError:
        return token.encode()


def sentence_piece(token: str) -> bytes:
    """Bytes of a token where U+2581 is a space and `<0x0A>` a byte."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return bytes([int(token[3:5], 16)])
        except ValueError:
            pass  # it only looks like one
    return token.replace("▁", " ").encode()


def _kinds(decoder: dict[str, Any] | None) -> list[str]:
    if decoder is None:
        return []
    if decoder["type"] == "Sequence":
        return [step["type"] for step in decoder["decoders"]]
    return [decoder["type"]]


def pieces_of(tokenizer: Tokenizer) -> Callable[[str], bytes] | None:
    """The function from a token's letters to its bytes, or None where tokens have no bytes of their own."""
    decoder = tokenizer.decoder
    kinds = _kinds(json.loads(decoder.__getstate__()) if decoder is not None else None)
    if "ByteLevel" in kinds:
        return byte_level
    if "ByteFallback" in kinds or kinds == ["Metaspace"]:
        return sentence_piece
    return None
