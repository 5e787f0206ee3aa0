"""The tokenizer built from the demo model's GGUF file, against the one that transformers builds from it."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import pytest

from lightllm_rs.checkpoint.demo import demo_model
from lightllm_rs.tokenizer import TextTokenizer, load_tokenizer

TEXTS = [
    "Hello world",
    "There are 12345 apples, don't  you   think?\n\n  x=1",
    "I'll we've they'd it's CAN'T",
    "naïve café, Straße, Ελληνικά, русский, עברית, العربية, हिन्दी, ไทย",
    "日本語のテキスト 한국어 中文字符",
    "🙂🙃👩‍👩‍👧🏳️‍🌈 e\u0301 \u200b \ufeff",
    "def f(x):\n\treturn x ** 2  # ok\n\n\n    if True:\r\n        pass\r\n",
    "   leading and trailing   ",
    "\t\t\n \n\n   \n",
    " ",
    "a" * 300,
    'https://example.org/a?b=c&d=%20#frag <b>x</b> {"k": [1, 2.5e-3]}',
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "text<|endoftext|>text <|im_end|> <repo_name>x",
    "\x00\x01\x7f control",
    "ﬁ ligature ™ ©",
]
"""No digits but ASCII's: the model's own rule makes each a word, which transformers' reader of GGUF does not know."""


@pytest.fixture(scope="module")
def demo() -> TextTokenizer:
    return load_tokenizer(demo_model())


@pytest.fixture(scope="module")
def theirs() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoTokenizer

        path = demo_model()
        return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_same_ids(demo: TextTokenizer, theirs: Any, text: str) -> None:
    assert demo.encode(text) == theirs(text)["input_ids"]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_text_comes_back_piece_by_piece(demo: TextTokenizer, text: str) -> None:
    detokenizer = demo.detokenizer(skip_special_tokens=False)
    pieces = [detokenizer.push(token) for token in demo.encode(text)]
    assert "".join(pieces) + detokenizer.finish() == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert demo.decode(demo.encode(text)) == text


def test_any_tokens_give_what_decoding_them_together_gives(demo: TextTokenizer) -> None:
    draw = random.Random(5)
    for _ in range(300):
        # Ids behind the vocabulary too, and the low ones often: they are bytes that make characters together.
        ids = [draw.randrange(300 if draw.random() < 0.3 else demo.vocab + 20) for _ in range(draw.randrange(1, 30))]
        for skip in (True, False):
            detokenizer = demo.detokenizer(skip_special_tokens=skip)
            text = "".join(detokenizer.push(token) for token in ids) + detokenizer.finish()
            assert text == demo.decode(ids, skip_special_tokens=skip)


def test_each_digit_is_a_token(demo: TextTokenizer) -> None:
    assert len(demo.encode("0123456789")) == 10


def test_special_tokens(demo: TextTokenizer) -> None:
    assert demo.vocab == 49152
    assert [demo.token_letters(token) for token in sorted(demo.special)][:3] == [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    detokenizer = demo.detokenizer()
    ids = demo.encode("a<|im_end|>b")
    assert len(ids) == 3
    assert "".join(detokenizer.push(token) for token in ids) == "ab"
    assert demo.encode("a<|im_end|>b", add_special_tokens=False) == ids, "this model has no beginning-of-text token"


def test_chat_template(demo: TextTokenizer, theirs: Any) -> None:
    conversations = [
        [{"role": "user", "content": "Hi"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi\n\nthere "}],
        [
            {"role": "user", "content": "<b>&'\""},
            {"role": "assistant", "content": "é🙂"},
            {"role": "user", "content": ""},
        ],
    ]
    assert demo.chat_template is not None
    for messages in conversations:
        for prompt in (True, False):
            ours = demo.chat_template.render(messages, add_generation_prompt=prompt)
            assert ours == theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)


def test_the_same_file_twice(demo: TextTokenizer) -> None:
    path: Path = demo_model()
    assert load_tokenizer(path, tokenizer=path).encode("Hello world") == demo.encode("Hello world")
