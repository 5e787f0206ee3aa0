"""Temperature, truncation and the draw itself, in plain torch (numpy where that is much faster on a CPU)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

REACHES = (4.0, 8.0, np.inf)
"""How far below the best logit a CPU looks for the tokens that top_p keeps, until it has them all."""


def scaled_logits(logits: Tensor, temperature: Tensor) -> Tensor:
    """Logits [n, vocab] over their temperature [n, 1] > 0, less their maximum: at most 0, and 0 for the best token."""
    return (logits - logits.amax(-1, keepdim=True)).div_(temperature)


def keep_mask(scaled: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, *, largest_k: int, nucleus: bool) -> Tensor:
    """Which tokens may be drawn: bool [n, vocab].

    A token stays if it is as probable as the top_k-th, and as the last one that is needed, from the most probable down,
    for a share of top_p of what top_k left, and has at least min_p times the probability of the best. Equally probable
    tokens stay or go together.

    Args:
        scaled: float32 [n, vocab] of `scaled_logits`.
        top_k: int64 [n, 1]; 0 keeps all.
        top_p, min_p: float32 [n, 1]; 1 and 0 keep all.
        largest_k: the largest of top_k.
        nucleus: any top_p is below 1.
    """
    at_k = torch.full_like(min_p, -torch.inf)
    if largest_k > 0:
        largest_k = min(largest_k, scaled.shape[-1])
        best = scaled.topk(largest_k).values
        at_k = torch.where(top_k > 0, best.gather(-1, (top_k - 1).clamp(0, largest_k - 1)), -torch.inf)
    lowest = torch.maximum(at_k, min_p.log())  # log(0) = -inf keeps all
    if nucleus:
        after_k = scaled if largest_k == 0 else scaled.masked_fill(scaled < at_k, -torch.inf)
        lowest = torch.maximum(lowest, nucleus_threshold(after_k, top_p))
    return scaled >= lowest


def nucleus_threshold(scaled: Tensor, top_p: Tensor) -> Tensor:
    """The smallest scaled logit [n, 1] that top_p [n, 1] keeps; -inf where top_p is 1."""
    if not scaled.is_cuda:
        shares = top_p.view(-1).tolist()
        thresholds = [_row_threshold(row, share) for row, share in zip(scaled.numpy(), shares, strict=True)]
        return torch.tensor(thresholds, dtype=scaled.dtype).unsqueeze(-1)
    descending = scaled.sort(-1, descending=True).values
    mass = descending.exp().cumsum(-1)
    needed = (mass < top_p * mass[:, -1:]).sum(-1, keepdim=True)
    threshold = descending.gather(-1, needed.clamp(max=descending.shape[-1] - 1))
    return torch.where(top_p < 1, threshold, -torch.inf)


def _row_threshold(scaled: Array, top_p: float) -> float:
    """The same for one row [vocab] on a CPU.

    Most of the mass is mostly in a few tokens near the best, so they alone are sorted; numpy does it several times as
    fast as torch.
    """
    if top_p >= 1:
        return -np.inf
    wanted = top_p * float(np.exp(scaled).sum(dtype=np.float64))
    for reach in REACHES:
        near = np.sort(scaled[scaled > -reach])[::-1]
        mass = np.cumsum(np.exp(near), dtype=np.float64)
        needed = int(np.searchsorted(mass, wanted))
        if needed < near.size:
            return float(near[needed])
    return float(scaled.min())  # rounding left a little of the mass out


def draw(scaled: Tensor, keep: Tensor | None, u: Tensor) -> Tensor:
    """Token ids int64 [n]: the first, in the order of the vocabulary, up to which the kept tokens have a share over u.

    Args:
        scaled: float32 [n, vocab].
        keep: bool [n, vocab], or None for all.
        u: float32 [n] in (0, 1).
    """
    weights = scaled.exp()
    if keep is not None:
        weights = weights.masked_fill_(~keep, 0.0)
    mass = weights.cumsum(-1)
    wanted = u.unsqueeze(-1) * mass[:, -1:]
    best = scaled.argmax(-1, keepdim=True)  # for a share that rounding lifts to the whole
    if scaled.is_cuda:
        # A parallel sum may wobble by a rounding error, so a token without weight is never taken.
        passed = (mass > wanted) & (weights > 0)
        first = passed.to(torch.uint8).argmax(-1, keepdim=True)
        found = passed.gather(-1, first)
    else:
        first = torch.searchsorted(mass, wanted, right=True)  # sums in order never fall
        found = first < mass.shape[-1]
    return torch.where(found, first, best).squeeze(-1)
