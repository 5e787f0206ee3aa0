"""A `tokenizers.Tokenizer` from the metadata of a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from lightllm_rs.tokenizer import pre_tokenizers
from lightllm_rs.tokenizer.errors import TokenizerError

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6
"""Values of `tokenizer.ggml.token_type` that matter here."""


def from_gguf(metadata: Mapping[str, Any]) -> Tokenizer:
    """Builds the tokenizer that `metadata` describes.

    Raises TokenizerError for a kind of vocabulary or a pre-tokenizer that is not known.
    """
    kind = metadata.get("tokenizer.ggml.model")
    tokens = _strings(metadata, "tokenizer.ggml.tokens")
    if kind == "gpt2":
        tokenizer, adds_bos = _byte_level(metadata, tokens)
    elif kind == "llama":
        tokenizer, adds_bos = _sentence_piece(metadata, tokens), True
    else:
        raise TokenizerError(
            f"the GGUF file's tokenizer {kind!r:.60} is not supported (known: 'gpt2', 'llama'): "
            "pass --tokenizer with the model's tokenizer.json"
        )
    types = metadata.get("tokenizer.ggml.token_type")
    if types is not None:
        tokenizer.add_special_tokens(
            [AddedToken(t, normalized=False) for t, k in zip(tokens, types, strict=True) if k == CONTROL]
        )
        tokenizer.add_tokens(
            [AddedToken(t, normalized=False) for t, k in zip(tokens, types, strict=True) if k == USER_DEFINED]
        )
    bos = metadata.get("tokenizer.ggml.bos_token_id")
    if metadata.get("tokenizer.ggml.add_bos_token", adds_bos) and bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{_quoted(tokens[bos])} $A", special_tokens=[(tokens[bos], int(bos))]
        )
    return tokenizer


def _strings(metadata: Mapping[str, Any], key: str) -> list[str]:
    value = metadata.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise TokenizerError(f"the GGUF file has no {key}: pass --tokenizer with the model's tokenizer.json")
    return value


def _quoted(token: str) -> str:
    """A token as a piece of a template; `tokenizers` splits templates at blanks and reads `$` and `:` as its own."""
    if any(character in token for character in " $:"):
        raise TokenizerError(f"the beginning-of-text token {token!r:.60} is not supported")
    return token


def _byte_level(metadata: Mapping[str, Any], tokens: list[str]) -> tuple[Tokenizer, bool]:
    merges: list[tuple[str, str]] = []
    for line in _strings(metadata, "tokenizer.ggml.merges"):
        left, _, right = line.partition(" ")
        merges.append((left, right))
    rule = pre_tokenizers.rule(metadata.get("tokenizer.ggml.pre", "gpt-2"))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=rule.whole_words))
    tokenizer.pre_tokenizer = rule.pre_tokenizer()
    normalizer = rule.normalizer()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, rule.adds_bos


def _sentence_piece(metadata: Mapping[str, Any], tokens: list[str]) -> Tokenizer:
    """SentencePiece's BPE: a pair is merged in the order of the scores of what it makes."""
    scores = metadata.get("tokenizer.ggml.scores")
    if scores is None or len(scores) != len(tokens):
        raise TokenizerError("the GGUF file has no tokenizer.ggml.scores: pass --tokenizer with a tokenizer.json")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges: list[tuple[float, int, str, str]] = []
    for number, token in enumerate(tokens):
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((-float(scores[number]), number, left, right))
    merges.sort(key=lambda merge: merge[:2])
    types = metadata.get("tokenizer.ggml.token_type")
    unknown = next((tokens[n] for n, k in enumerate(types) if k == UNKNOWN), None) if types is not None else None
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[(left, right) for _, _, left, right in merges],
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    spaces: list[normalizers.Normalizer] = [normalizers.Replace(" ", "▁")]
    after: list[decoders.Decoder] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if metadata.get("tokenizer.ggml.add_space_prefix", True):
        spaces.insert(0, normalizers.Prepend("▁"))
        after.append(decoders.Strip(" ", 1, 0))
    tokenizer.normalizer = normalizers.Sequence(spaces)
    tokenizer.decoder = decoders.Sequence(after)
    return tokenizer
