"""Log-probabilities of chosen tokens and of the most probable alternatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightllm_rs.backend.plan import Array
from lightllm_rs.messages.frames import pack_f32, pack_u32
from lightllm_rs.messages.sampling import TokenLogprobs

CHUNK_ROWS = 256
"""Positions of a prompt whose logits over the whole vocabulary are in memory at once."""


@dataclass
class TopLogprobs:
    """chosen: float32 [n]; ids: int64 [n, k], values: float32 [n, k], best first."""

    chosen: Tensor
    ids: Tensor
    values: Tensor


def top_logprobs(logits: Tensor, tokens: Tensor, alternatives: int) -> TopLogprobs:
    """Natural logarithms of the softmax of logits [n, vocab] at tokens int64 [n] and at the `alternatives` largest."""
    norm = logits.logsumexp(-1, keepdim=True)
    chosen = logits.gather(-1, tokens.unsqueeze(-1)) - norm
    best = logits.topk(min(alternatives, logits.shape[-1]))
    return TopLogprobs(chosen.squeeze(-1), best.indices, best.values - norm)


def prompt_logprobs(
    hidden: Tensor, following: Tensor, alternatives: int, head: Callable[[Tensor], Tensor]
) -> TopLogprobs:
    """The same for many positions of prompts, a few hundred at a time.

    Args:
        hidden: [n, hidden] final hidden states.
        following: int64 [n]; the token that stands after each.
        head: makes float32 logits [m, vocab] of hidden states [m, hidden].
    """
    parts = [
        top_logprobs(head(states), tokens, alternatives)
        for states, tokens in zip(torch.split(hidden, CHUNK_ROWS), torch.split(following, CHUNK_ROWS), strict=True)
    ]
    return TopLogprobs(
        torch.cat([part.chosen for part in parts]),
        torch.cat([part.ids for part in parts]),
        torch.cat([part.values for part in parts]),
    )


def entries(chosen: Array, ids: Array, values: Array, alternatives: int) -> list[TokenLogprobs]:
    """Messages for the host's arrays [n], [n, k], [n, k], with `alternatives` <= k of the alternatives."""
    return [
        TokenLogprobs(float(chosen[row]), pack_u32(ids[row, :alternatives]), pack_f32(values[row, :alternatives]))
        for row in range(chosen.size)
    ]
