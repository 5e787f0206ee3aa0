"""Drawing tokens in plain torch; also the CPU path."""

from __future__ import annotations

import torch
from torch import Tensor

from .truncation import draw, keep_mask, scaled_logits
from .uniform import uniform


def draw_tokens_reference(
    logits: Tensor,
    slots: Tensor,
    positions: Tensor,
    floats: Tensor,
    integers: Tensor,
    last_tokens: Tensor,
    *,
    limited: bool,
    good: Tensor | None = None,
) -> Tensor:
    """See `draw_tokens`."""
    if good is None:
        good = finite_rows(logits)
    tokens = logits.argmax(-1)
    rows = (floats[slots, 0] > 0).nonzero().squeeze(-1)
    if rows.numel():
        at = slots[rows]
        scaled = scaled_logits(logits[rows].float(), floats[at, 0:1])
        top_k, top_p, min_p = integers[at, 1:2], floats[at, 1:2], floats[at, 2:3]
        keep = None
        if limited:
            largest_k = int(top_k.max())
            keep = keep_mask(scaled, top_k, top_p, min_p, largest_k=largest_k, nucleus=bool((top_p < 1).any()))
        tokens[rows] = draw(scaled, keep, uniform(integers[at, 0], positions[rows].to(torch.int64)))
    last_tokens[slots] = tokens
    return torch.stack([tokens, good.to(torch.int64)])


def finite_rows(values: Tensor) -> Tensor:
    """Which rows of [n, m] hold finite numbers only: bool [n]. One infinity or NaN is enough to spoil a row's sum."""
    return torch.isfinite(values.sum(-1, dtype=torch.float32))
