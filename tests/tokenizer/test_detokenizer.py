"""Text from tokens, one at a time, for each kind of vocabulary."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from helpers.tiny_models import CORPUS, tiny_tokenizer
from lightllm_rs.tokenizer import TextTokenizer


def by_bytes() -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer(), None, None)


def by_words() -> TextTokenizer:
    """A vocabulary whose decoder looks at neighbours: tokens have no bytes of their own."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[arg-type]
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False)
    )
    return TextTokenizer(tokenizer, None, None)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_comes_back(text: str) -> None:
    tokenizer = by_bytes()
    detokenizer = tokenizer.detokenizer(skip_special_tokens=False)
    pieces = [detokenizer.push(token) for token in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert detokenizer.finish() == ""


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 383), max_size=40))
def test_any_tokens_give_what_decoding_them_together_gives(ids: list[int]) -> None:
    tokenizer = by_bytes()
    for skip in (True, False):
        detokenizer = tokenizer.detokenizer(skip_special_tokens=skip)
        text = "".join(detokenizer.push(token) for token in ids) + detokenizer.finish()
        assert text == tokenizer.decode(ids, skip_special_tokens=skip)


def test_ids_outside_the_vocabulary_have_no_text() -> None:
    tokenizer = by_bytes()
    detokenizer = tokenizer.detokenizer()
    assert detokenizer.push(tokenizer.vocab + 5) == ""
    assert tokenizer.token_bytes(tokenizer.vocab + 5) == b""
    assert tokenizer.token_letters(tokenizer.vocab + 5) == ""


def test_decoders_that_look_at_neighbours() -> None:
    tokenizer = by_words()
    text = "the quick brown fox"
    ids = tokenizer.encode(text)
    detokenizer = tokenizer.detokenizer()
    assert "".join(detokenizer.push(token) for token in ids) + detokenizer.finish() == tokenizer.decode(ids) == text


@pytest.mark.parametrize("token", ["a", "é", "🙂"])
def test_bytes_of_tokens(token: str) -> None:
    tokenizer = by_bytes()
    assert b"".join(tokenizer.token_bytes(piece) for piece in tokenizer.encode(token)) == token.encode()


def test_the_beginning_of_text_never_stands_twice() -> None:
    from tokenizers import processors

    built = Tokenizer.from_str(tiny_tokenizer().to_str())
    built.post_processor = processors.TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)])
    tokenizer = TextTokenizer(built, "<|im_start|>", None)
    plain = tokenizer.encode("Hi", add_special_tokens=False)
    assert tokenizer.encode("Hi") == [1, *plain]
    assert tokenizer.encode("<|im_start|>Hi") == [1, *plain]
