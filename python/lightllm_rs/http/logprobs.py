"""Log-probabilities in the two shapes of the OpenAI routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightllm_rs._core import Logprobs, Record
from lightllm_rs.tokenizer import TextTokenizer

LOWEST = -9999.0
"""JSON has no infinity; a token that was ruled out has this log-probability."""


def finite(value: float) -> float:
    """A log-probability as JSON can hold it."""
    return value if value > LOWEST else LOWEST


def alternatives(entry: Logprobs, count: int) -> list[tuple[int, float]]:
    """The best `count` tokens of a position, best first."""
    return [(token, finite(value)) for token, value in entry.alternatives[:count]]


def token_text(tokenizer: TextTokenizer, token: int) -> str:
    """A token on its own; bytes that are no text as "bytes:\\xe2\\x80", as OpenAI writes them."""
    data = tokenizer.token_bytes(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


class CompletionLogprobs:
    """The four lists of a completion, growing."""

    def __init__(self, tokenizer: TextTokenizer, count: int) -> None:
        self._tokenizer = tokenizer
        self._count = count
        self.tokens: list[str] = []
        self.token_logprobs: list[float | None] = []
        self.top_logprobs: list[dict[str, float] | None] = []
        self.text_offset: list[int] = []

    def add(self, token: int, offset: int, entry: Logprobs | None) -> None:
        """A token whose text begins at `offset`. The first token of a prompt has no probability."""
        text = token_text(self._tokenizer, token)
        self.tokens.append(text)
        self.text_offset.append(offset)
        if entry is None:
            self.token_logprobs.append(None)
            self.top_logprobs.append(None)
            return
        chosen = finite(entry.chosen)
        top = {token_text(self._tokenizer, t): value for t, value in alternatives(entry, self._count)}
        top.setdefault(text, chosen)
        self.token_logprobs.append(chosen)
        self.top_logprobs.append(top)

    def add_prompt(self, ids: Sequence[int], entries: Sequence[Logprobs | None]) -> None:
        """The tokens of an echoed prompt."""
        detokenizer = self._tokenizer.detokenizer(skip_special_tokens=False)
        offset = 0
        for token, entry in zip(ids, entries, strict=True):
            self.add(token, offset, entry)
            offset += len(detokenizer.push(token))

    def as_json(self) -> dict[str, Any]:
        """The lists by their names."""
        return {
            "tokens": self.tokens,
            "token_logprobs": self.token_logprobs,
            "top_logprobs": self.top_logprobs,
            "text_offset": self.text_offset,
        }


def completion_logprobs(lists: CompletionLogprobs, records: Sequence[Record], offset: int) -> None:
    """Adds some tokens of an output whose text begins `offset` letters into the choice's."""
    for record in records:
        if record.kept:
            lists.add(record.token, offset + record.start, record.logprobs)


def _one(tokenizer: TextTokenizer, token: int, value: float) -> dict[str, Any]:
    data = tokenizer.token_bytes(token)
    return {"token": data.decode(errors="replace"), "logprob": value, "bytes": list(data)}


def chat_logprobs(tokenizer: TextTokenizer, records: Sequence[Record], count: int) -> dict[str, Any]:
    """The content list of a chat answer."""
    content = []
    for record in records:
        if record.kept and record.logprobs is not None:
            entry = _one(tokenizer, record.token, finite(record.logprobs.chosen))
            tops = alternatives(record.logprobs, count)
            content.append({**entry, "top_logprobs": [_one(tokenizer, token, value) for token, value in tops]})
    return {"content": content, "refusal": None}
