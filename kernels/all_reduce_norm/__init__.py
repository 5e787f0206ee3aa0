"""The sum over tensor parallel ranks, fused with the residual addition and the RMS norm that follow it."""

from __future__ import annotations

from torch import Tensor

from .mailbox import TURNS, Mailbox

__all__ = ["TURNS", "Mailbox", "all_reduce_norm"]


def all_reduce_norm(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None, mailbox: Mailbox, turn: int
) -> tuple[Tensor, Tensor]:
    """(norm(s) * weight, s) where s is the sum of all ranks' x, plus residual if there is one: [T, hidden] each.

    All ranks call it with the same shapes and turn, in the same order of calls. The sum is taken in float32 and rounded
    once, to x's dtype. There is no CPU path: ranks without a mailbox use torch.distributed and `rms_norm`.

    Args:
        x: contiguous [T, hidden]; at most `mailbox.rows` rows of `mailbox.size`.
        weight: [hidden].
        residual: like x, the same on every rank.
        turn: below `TURNS`, and not that of the call before.
    """
    from .kernel import all_reduce_norm_triton

    return all_reduce_norm_triton(x, weight, eps, residual, mailbox, turn)
