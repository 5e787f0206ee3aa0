"""Drawing the next tokens from logits: greedy, by temperature, top_k, top_p and min_p."""

from __future__ import annotations

from torch import Tensor

from .reference import draw_tokens_reference, finite_rows
from .uniform import signed

__all__ = ["draw_tokens", "finite_rows", "signed"]


def draw_tokens(
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
    """One token for each row: int64 [2, n], the tokens and, below, whether the row's logits are finite (1 or 0).

    The token of a row that is not good means nothing, but is one of the vocabulary.

    Args:
        logits: [n, vocab]; not changed.
        slots: int64 [n]; where each row's settings are, and in `last_tokens` its token goes.
        positions: int32 or int64 [n]; of the tokens to be drawn. With the seed they decide the draw (uniform.py).
        floats: float32 [slots, 3 or more]; temperature (0 takes the best token), top_p, min_p.
        integers: int64 [slots, 2]; seed, top_k (0 keeps all).
        last_tokens: int64 [slots].
        limited: whether any row has a top_k, top_p or min_p; they are not looked at otherwise.
        good: bool [n] where it is known already, since logits that were changed may hold infinities.
    """
    if logits.is_cuda:
        from .kernel import draw_tokens_triton

        return draw_tokens_triton(logits, slots, positions, floats, integers, last_tokens, limited=limited, good=good)
    return draw_tokens_reference(logits, slots, positions, floats, integers, last_tokens, limited=limited, good=good)
