"""The prompts of a run: random ones, ShareGPT's conversations, or lines of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.outcome import Prompt
from lightllm_rs.tokenizer import TextTokenizer

SHORTEST, LONGEST_PROMPT, LONGEST = 4, 1024, 2048
"""Conversations of ShareGPT outside of these numbers of tokens (a part, a prompt, both) are left out, as is usual."""

TRIES = 10
"""Rounds in which a random text is brought to its length."""


@dataclass(frozen=True)
class RandomLengths:
    """Lengths of random prompts, in tokens.

    Attributes:
        input, output: of prompt and answer.
        ratio: a length is drawn from (1 - ratio) to (1 + ratio) times these.
        prefix: tokens that all prompts have in common, before the drawn ones.
    """

    input: int
    output: int
    ratio: float = 0.0
    prefix: int = 0


def random_prompts(tokenizer: TextTokenizer, count: int, lengths: RandomLengths, seed: int) -> list[Prompt]:
    """Texts of random tokens, each of as many tokens as was drawn for it wherever a text with so many is found.

    Decoded tokens do not always come out as the same tokens again; so a text is cut or grown until its length fits.
    """
    draw = np.random.default_rng(seed)
    ids = np.array([number for number in range(tokenizer.vocab) if number not in tokenizer.special])
    prefix = _fitted(tokenizer, draw, ids, lengths.prefix, "")[0] if lengths.prefix else ""
    found = []
    for _ in range(count):
        text, tokens = _fitted(
            tokenizer, draw, ids, lengths.prefix + _drawn(draw, lengths.input, lengths.ratio), prefix
        )
        found.append(Prompt(text, tokens, _drawn(draw, lengths.output, lengths.ratio)))
    return found


def _drawn(draw: np.random.Generator, length: int, ratio: float) -> int:
    return max(1, int(draw.integers(int(length * (1 - ratio)), int(length * (1 + ratio)) + 1)))


def _fitted(
    tokenizer: TextTokenizer, draw: np.random.Generator, ids: np.ndarray[Any, Any], length: int, begin: str
) -> tuple[str, int]:
    """A text of about `length` tokens that begins with `begin`, and its tokens."""
    own = len(tokenizer.encode(begin))
    parts = draw.choice(ids, max(1, length - own)).tolist()
    best, best_length = begin, own
    for _ in range(TRIES):
        text = begin + tokenizer.decode(parts, skip_special_tokens=True)
        tokens = tokenizer.encode(text)
        if abs(len(tokens) - length) < abs(best_length - length) or not best:
            best, best_length = text, len(tokens)
        missing = length - len(tokens)
        if missing == 0:
            break
        parts = tokens[own:length] if missing < 0 else [*tokens[own:], *draw.choice(ids, missing).tolist()]
    return best, best_length


def sharegpt_prompts(
    path: Path, tokenizer: TextTokenizer, count: int, output_tokens: int | None, seed: int
) -> list[Prompt]:
    """First questions of random conversations, with answers as long as ShareGPT's own. Raises BenchError.

    Args:
        output_tokens: length of each answer in place of that.
    """
    conversations = _json_list(path)
    found: list[Prompt] = []
    for index in np.random.default_rng(seed).permutation(len(conversations)).tolist():
        if len(found) == count:
            break
        turns = conversations[index].get("conversations") or conversations[index].get("conversation") or []
        if len(turns) < 2:
            continue
        question, answer = (str(turn.get("value", "")) for turn in turns[:2])
        tokens = len(tokenizer.encode(question))
        answered = output_tokens or len(tokenizer.encode(answer, add_special_tokens=False))
        if min(tokens, answered) < SHORTEST or tokens > LONGEST_PROMPT or tokens + answered > LONGEST:
            continue
        found.append(Prompt(question, tokens, answered))
    if not found:
        raise BenchError(f"{path}: no conversation with a question and an answer of usual length is in it")
    return _filled(found, count)


def custom_prompts(path: Path, tokenizer: TextTokenizer, count: int, output_tokens: int) -> list[Prompt]:
    """Lines of a JSONL file: {"prompt": "...", "output_tokens": 64}, the second of which may miss.

    Raises BenchError.
    """
    found = []
    for number, line in _lines(path):
        try:
            fields = json.loads(line)
            prompt, most = fields["prompt"], int(fields.get("output_tokens", output_tokens))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BenchError(f'{path}:{number}: a line must be an object such as {{"prompt": "text"}}') from None
        if not isinstance(prompt, str) or most < 1:
            raise BenchError(f"{path}:{number}: prompt must be text, and output_tokens at least 1")
        found.append(Prompt(prompt, len(tokenizer.encode(prompt)), most))
        if len(found) == count:
            break
    if not found:
        raise BenchError(f"{path}: the file is empty: give a line with a prompt at least")
    return _filled(found, count)


def _filled(prompts: list[Prompt], count: int) -> list[Prompt]:
    """As many as asked for: from the first again where there are too few."""
    return [prompts[index % len(prompts)] for index in range(count)]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read: {error}") from None


def _json_list(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise BenchError(f"{path} must be a JSON list of conversations, as ShareGPT's files are")
    return found
