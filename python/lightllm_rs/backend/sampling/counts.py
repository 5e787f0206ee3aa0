"""Which tokens each slot has seen, for the penalties."""

from __future__ import annotations

import torch
from torch import Tensor


class TokenCounts:
    """Rows of slots that use penalties; the others' rows are never touched (on a CPU they take no memory).

    Attributes:
        generated: int32 [slots, vocab]; how often the output has each token.
        seen: bool [slots, vocab]; whether prompt or output has it.
    """

    def __init__(self, slots: int, vocab: int, device: torch.device) -> None:
        self.generated = torch.empty((slots, vocab), dtype=torch.int32, device=device)
        self.seen = torch.empty((slots, vocab), dtype=torch.bool, device=device)

    @staticmethod
    def bytes(slots: int, vocab: int) -> int:
        """Memory on a GPU."""
        return slots * vocab * 5

    def attach(self, slot: int, history: Tensor, prompt_len: int) -> None:
        """Starts a slot's row from all its known ids, int64 [n]; output begins at `prompt_len`."""
        self.generated[slot].zero_()
        self.seen[slot].zero_()
        output = history[prompt_len:]
        if output.numel():
            ones = torch.ones_like(output, dtype=torch.int32)
            self.generated[slot].index_add_(0, output, ones)
        self.seen[slot].index_fill_(0, history, True)

    def add(self, slots: Tensor, tokens: Tensor) -> None:
        """Counts one more output token of each slot; int64 [n] each, slots distinct."""
        self.generated[slots, tokens] += 1
        self.seen[slots, tokens] = True


def penalise(logits: Tensor, generated: Tensor, seen: Tensor, penalties: Tensor) -> Tensor:
    """Logits float32 [n, vocab] with penalties float32 [n, 3] (presence, frequency, repetition) taken into account.

    First a seen token's logit is divided by the repetition penalty, or multiplied if it is negative; then a generated
    token loses presence + frequency * (times it was generated).
    """
    presence, frequency, repetition = (column.unsqueeze(-1) for column in penalties.unbind(-1))
    repeated = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(seen, repeated, logits)
    return logits - frequency * generated - presence * (generated > 0)
