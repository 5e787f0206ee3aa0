"""Tokenizers from GGUF metadata: kinds of vocabulary, pre-tokenizers, special tokens."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from helpers.tiny_models import tiny_tokenizer
from lightllm_rs.tokenizer import TextTokenizer, TokenizerError
from lightllm_rs.tokenizer.gguf import from_gguf
from lightllm_rs.tokenizer.pre_tokenizers import RULES

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def byte_level(**changes: Any) -> dict[str, Any]:
    """Metadata as a GGUF file of the tiny tokenizer would have it."""
    model = json.loads(tiny_tokenizer().to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([CONTROL] * 3 + [NORMAL] * (len(tokens) - 3), dtype=np.int32),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        **{f"tokenizer.ggml.{name}": value for name, value in changes.items()},
    }


def test_as_the_tokenizer_it_was_made_from() -> None:
    built = from_gguf(byte_level())
    for text in ("The quick brown fox", "naïve 日本語 🙂", "<|im_start|>user\nHi<|im_end|>", " x  1234\n\n"):
        assert built.encode(text).ids == tiny_tokenizer().encode(text).ids
        assert built.decode(built.encode(text).ids, skip_special_tokens=False) == text


def words(pre: str, text: str) -> list[str]:
    """How a rule cuts a text, in the vocabulary's letters."""
    normalizer = RULES[pre].normalizer()
    text = normalizer.normalize_str(text) if normalizer is not None else text
    return [word for word, _ in RULES[pre].pre_tokenizer().pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("pre", "text", "cut"),
    [
        ("gpt-2", "I'm 1234  x", ["I", "'m", "Ġ1234", "Ġ", "Ġx"]),
        ("smollm", "a 1234", ["a", "Ġ", "1", "2", "3", "4"]),
        ("llama-bpe", "I'M 12345  x", ["I", "'M", "Ġ", "123", "45", "Ġ", "Ġx"]),
        ("qwen2", "I'm 123", ["I", "'m", "Ġ", "1", "2", "3"]),
        ("qwen2", "e\u0301", ["Ã©"]),
        ("llama-bpe", "x!\n\n y", ["x", "!ĊĊ", "Ġy"]),
        ("tekken", "HelloWorld 12", ["Hello", "World", "Ġ", "1", "2"]),
    ],
)
def test_rules_cut_as_their_models_do(pre: str, text: str, cut: list[str]) -> None:
    assert words(pre, text) == cut


def test_the_beginning_of_text_comes_where_it_belongs() -> None:
    plain = tiny_tokenizer().encode("Hi").ids
    assert from_gguf(byte_level()).encode("Hi").ids == plain
    assert from_gguf(byte_level(add_bos_token=True)).encode("Hi").ids == [1, *plain]
    assert from_gguf(byte_level(pre="llama-bpe")).encode("Hi").ids[0] == 1
    assert from_gguf(byte_level(pre="llama-bpe", add_bos_token=False)).encode("Hi").ids[0] != 1


def sentence_piece(**changes: Any) -> dict[str, Any]:
    """A vocabulary as SentencePiece makes it: scores in place of merges, and a token for each byte."""
    words = ["▁", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello", "▁h", "lo"]
    scores = [-10.0, -11, -12, -13, -14, -1, -2, -3, -4, -5, -6, -7]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": np.array([0.0] * 259 + scores, dtype=np.float32),
        "tokenizer.ggml.token_type": np.array([UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(words)),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        **{f"tokenizer.ggml.{name}": value for name, value in changes.items()},
    }


def test_sentence_piece() -> None:
    built = from_gguf(sentence_piece())
    assert built.encode("hello").tokens == ["<s>", "▁hello"]
    assert built.encode("hello hello").tokens == ["<s>", "▁hello", "▁hello"]
    assert built.encode("hé").tokens == ["<s>", "▁h", "<0xC3>", "<0xA9>"]
    assert built.decode(built.encode("hello hé🙂").ids) == "hello hé🙂"
    assert from_gguf(sentence_piece(add_space_prefix=False)).encode("hello").tokens == ["<s>", "hello"]
    assert from_gguf(sentence_piece(add_bos_token=False)).encode("hello").tokens == ["▁hello"]


def test_sentence_piece_piece_by_piece() -> None:
    tokenizer = TextTokenizer(from_gguf(sentence_piece()), "<s>", None)
    detokenizer = tokenizer.detokenizer()
    pieces = [detokenizer.push(token) for token in tokenizer.encode("hello hé🙂")]
    # An output goes on after its prompt, so the space before its first word is kept.
    assert "".join(pieces) + detokenizer.finish() == " hello hé🙂"
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (byte_level(pre="of-tomorrow"), "pre-tokenizer 'of-tomorrow' is not supported"),
        (byte_level(model="bert"), "tokenizer 'bert' is not supported"),
        ({}, "no tokenizer.ggml.tokens"),
        (byte_level(merges=None), "no tokenizer.ggml.merges"),
        (sentence_piece(scores=None), "no tokenizer.ggml.scores"),
    ],
)
def test_what_cannot_be_built(metadata: dict[str, Any], says: str) -> None:
    with pytest.raises(TokenizerError, match=says) as caught:
        from_gguf(metadata)
    assert "--tokenizer" in str(caught.value), "it says what to do"


def test_words_that_are_tokens_win_over_merges_where_the_rule_says_so() -> None:
    vocabulary = {letter: number for number, letter in enumerate("abc")} | {"abc": 3, "bc": 4}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[("b", "c")]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert plain.encode("abc").tokens == ["a", "bc"]
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.tokens": list(vocabulary),
        "tokenizer.ggml.merges": ["b c"],
    }
    assert from_gguf(metadata).encode("abc").tokens == ["abc"]
