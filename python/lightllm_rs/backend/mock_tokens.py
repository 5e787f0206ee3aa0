"""The mock model's arithmetic: a rolling hash of the prefix, and tokens drawn from it. No torch.

With g = splitmix64 of (token + 1) the hash of the tokens t0 .. ti is, modulo 2^64,

    hash(i) = hash(i - 1) * BASE + g(ti),    hash(-1) = EMPTY

and the token after them is splitmix64(hash(i)) brought into `token_range`. BASE is odd and thus has an inverse, so the
hashes of a whole row come out of one cumulative sum: hash(i) = BASE^(i+1) * (hash(-1) + sum of g(tj) * BASE^-(j+1)).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightllm_rs.backend.plan import Array

EMPTY = np.uint64(0x243F6A8885A308D3)
BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(BASE, -1, 1 << 64)


def token_range(vocab: int) -> tuple[int, int]:
    """First id and end of the ids the mock emits: ordinary text in byte-level vocabularies of any size.

    Special and single-byte tokens stand at the low end of a vocabulary and added tokens at the high end.
    """
    low = 300 if vocab >= 600 else vocab * 3 // 4
    return low, max(vocab - vocab // 16, low + 1)


def mix(values: Array) -> Array:
    """The splitmix64 finaliser of uint64 values."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = values ^ (values >> np.uint64(31))
    return mixed


def token_words(tokens: Array) -> Array:
    """g of token ids."""
    return mix(tokens.astype(np.uint64) + np.uint64(1))


class Powers:
    """BASE^0, BASE^1, ... and those of its inverse, up to `count` of them."""

    def __init__(self, count: int) -> None:
        self.up = _powers(BASE, count)
        self.down = _powers(_INVERSE, count)


def _powers(base: int, count: int) -> Array:
    steps = np.full(count + 1, base, dtype=np.uint64)
    steps[0] = 1
    powers: Array = np.multiply.accumulate(steps)
    return powers


def next_hashes(hashes: Array, tokens: Array) -> Array:
    """The hashes [n] with one token [n] more each."""
    longer: Array = hashes * np.uint64(BASE) + token_words(tokens)
    return longer


def row_hashes(previous: Array, tokens: Array, counts: Array, powers: Powers) -> Array:
    """The hash after each token of several rows.

    Args:
        previous: uint64 [rows]; hash before each row.
        tokens: ids of all rows, row after row.
        counts: [rows]; tokens of each row, each at least 1 and below the number of powers.
    """
    starts = np.cumsum(counts) - counts
    places = np.arange(tokens.size, dtype=np.int64) - np.repeat(starts, counts) + 1
    terms = token_words(tokens) * powers.down[places]
    sums = np.cumsum(terms, dtype=np.uint64)
    before = sums[starts] - terms[starts]  # what the rows further up have added
    hashes: Array = (np.repeat(previous - before, counts) + sums) * powers.up[places]
    return hashes


def emitted(hashes: Array, vocab: int) -> Array:
    """The token ids that follow prefixes with these hashes."""
    low, end = token_range(vocab)
    tokens: Array = (mix(hashes) % np.uint64(end - low)).astype(np.int64) + low
    return tokens


def mock_text(prompt_ids: Sequence[int], count: int, vocab: int) -> list[int]:
    """The `count` token ids that the mock backend generates after a prompt, whatever else it does."""
    value, modulus = int(EMPTY), 1 << 64
    for word in token_words(np.asarray(prompt_ids, dtype=np.int64)).tolist():
        value = (value * BASE + word) % modulus
    text: list[int] = []
    for _ in range(count):
        token = int(emitted(np.asarray([value], dtype=np.uint64), vocab)[0])
        text.append(token)
        value = (value * BASE + int(token_words(np.asarray([token]))[0])) % modulus
    return text
