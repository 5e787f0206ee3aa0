"""Log-probabilities of the mock backend: plausible, and a pure function of the prefix."""

from __future__ import annotations

import numpy as np

from lightllm_rs.backend.mock_tokens import emitted, mix
from lightllm_rs.backend.plan import Array, Plan, known_tokens
from lightllm_rs.messages.frames import pack_f32, pack_u32
from lightllm_rs.messages.sampling import TokenLogprobs
from lightllm_rs.messages.steps import Attach, RowExtra


def position_logprobs(prefix: Array, chosen: int, alternatives: int, vocab: int) -> TokenLogprobs:
    """The entry of the token after a prefix with this hash (uint64 [1]).

    The token that the mock emits there is the most probable one; the next ones have the ids that follow it, and each
    is half as probable as the one before. A prompt token that is none of them has what a ninth alternative would have.
    """
    best = int(emitted(prefix, vocab)[0])
    share = 0.5 + float(mix(prefix + np.uint64(1))[0] >> np.uint64(11)) / (1 << 53) / 4  # 0.5 .. 0.75
    ids = (best + np.arange(min(max(alternatives, 9), vocab))) % vocab
    values = np.log(share) - np.log(2.0) * np.arange(ids.size)
    places = np.flatnonzero(ids == chosen)
    value = float(values[places[0]]) if places.size else float(values[min(8, ids.size - 1)])
    return TokenLogprobs(value, pack_u32(ids[:alternatives]), pack_f32(values[:alternatives]))


def row_extra(plan: Plan, row: int, attach: Attach, hashes: Array, vocab: int) -> RowExtra:
    """What a row reports whose request asked for log-probabilities.

    Args:
        hashes: uint64 [tokens of the row]; the hash after each of them.
    """
    sampling = attach.sampling
    logprobs = prompt = None
    if sampling.logprobs >= 0 and plan.emits[row]:
        token = int(emitted(hashes[-1:], vocab)[0])
        logprobs = [position_logprobs(hashes[-1:], token, sampling.logprobs, vocab)]
    first = int(plan.starts[row]) + 1
    if sampling.prompt_logprobs >= 0 and first < attach.prompt_len:
        following = known_tokens(attach)[first : min(first + hashes.size, attach.prompt_len)]
        prompt = [
            position_logprobs(hashes[i : i + 1], token, sampling.prompt_logprobs, vocab)
            for i, token in enumerate(following.tolist())
        ]
    return RowExtra(row, logprobs, first if prompt else 0, prompt)
