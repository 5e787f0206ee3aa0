"""The bytes of each token, so that a text can be put together token by token.

Byte-level vocabularies (GPT-2's alphabet) and SentencePiece's with byte fallback give each token bytes that do not
depend on its neighbours. Other decoders do not; for them `pieces_of` says None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from lightllm_rs._core import Pieces


def _kinds(decoder: dict[str, Any] | None) -> list[str]:
    if decoder is None:
        return []
    if decoder["type"] == "Sequence":
        return [step["type"] for step in decoder["decoders"]]
    return [decoder["type"]]


def _spelling(tokenizer: Tokenizer) -> str | None:
    decoder = tokenizer.decoder
    kinds = _kinds(json.loads(decoder.__getstate__()) if decoder is not None else None)
    if "ByteLevel" in kinds:
        return "byte-level"
    if "ByteFallback" in kinds or kinds == ["Metaspace"]:
        return "sentence-piece"
    return None


def pieces_of(tokenizer: Tokenizer, vocabulary: Mapping[str, int], special: frozenset[int]) -> Pieces | None:
    """The bytes of all tokens, or None where tokens have no bytes of their own.

    Args:
        vocabulary: all tokens by their letters.
        special: ids that `skip_special_tokens` leaves out of texts.
    """
    spelling = _spelling(tokenizer)
    if spelling is None:
        return None
    tokens = list(vocabulary.items())
    # Of two ids with the same letters the mapping has one.
    for token in set(range(max(vocabulary.values()) + 1)).difference(vocabulary.values()):
        letters = tokenizer.id_to_token(token)
        if letters is not None:
            tokens.append((letters, token))
    return Pieces(spelling, tokens, list(special))
