"""How far apart two models' opinions about the next token are."""

from __future__ import annotations

from torch import Tensor

MARGIN = 0.25
"""Where the two best logits of the exact model differ by more, rounding must not change which is the best."""

PREFIX_KL = 0.003
"""Most by which computing the same tokens in another way may move a distribution, in nats, as a mean over positions."""


def divergence(exact: Tensor, found: Tensor) -> Tensor:
    """KL(exact || found) in nats of each pair of rows of log-probabilities [n, vocab]: float64 [n]."""
    exact, found = exact.double(), found.double()
    return (exact.exp() * (exact - found)).sum(-1)


def decided(logits: Tensor) -> Tensor:
    """bool [n]; the rows of logits [n, vocab] whose best is more than MARGIN above the second."""
    best = logits.topk(2).values
    return best[:, 0] - best[:, 1] > MARGIN
