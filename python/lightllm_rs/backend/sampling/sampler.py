"""From logits to tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.plan import Array
from lightllm_rs.backend.sampling.counts import penalise
from lightllm_rs.backend.sampling.logprobs import TopLogprobs, top_logprobs
from lightllm_rs.backend.sampling.table import PRESENCE, REPETITION, SamplingTable
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.kernels.draw_tokens import draw_tokens, finite_rows


def _nothing() -> Array:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class SamplingRows:
    """The rows of one step that are sampled, and which of them need what; made on the host.

    Attributes:
        slots, positions: [n]; slot of each row and position of the token to be drawn.
        plain: no row needs anything but a draw; the lists that follow are empty.
        penalised, reports: indices of the rows with penalties, with log-probabilities.
        biased, masked: the same for logit_bias and for end ids that may not come yet.
        truncates: any drawing row has a top_k, top_p or min_p.
        alternatives: most alternatives that a reporting row asked for.
    """

    slots: Array
    positions: Array
    plain: bool
    truncates: bool
    penalised: Array = field(default_factory=_nothing)
    reports: Array = field(default_factory=_nothing)
    biased: Array = field(default_factory=_nothing)
    masked: Array = field(default_factory=_nothing)
    alternatives: int = 0


def sampling_rows(table: SamplingTable, slots: Array, positions: Array) -> SamplingRows:
    """What the sampler has to do for tokens at these positions of these slots, [n] each."""
    truncates = bool(table.truncates[slots].any())
    if table.plain[slots].all():
        return SamplingRows(slots, positions, True, truncates)
    reports = np.flatnonzero(table.logprobs[slots] >= 0)
    return SamplingRows(
        slots=slots,
        positions=positions,
        plain=False,
        truncates=truncates,
        penalised=np.flatnonzero(table.penalised[slots]),
        reports=reports,
        biased=np.flatnonzero(table.biased[slots]),
        masked=np.flatnonzero(table.masked(slots, positions)),
        alternatives=int(table.logprobs[slots[reports]].max(initial=0)),
    )


def pack_rows(rows: SamplingRows, packed: Packed) -> None:
    """Adds what the device must know of the rows to a transfer."""
    packed.add("sample.slots", rows.slots)
    packed.add("sample.positions", rows.positions)
    for name in ("penalised", "reports"):
        indices = getattr(rows, name)
        if 0 < indices.size < rows.slots.size:
            packed.add(f"sample.{name}", indices)


@dataclass
class Sampled:
    """Tokens and what is reported about them, on the device.

    Attributes:
        drawn: int64 [2, n]; see `draw_tokens`.
        logprobs: of the rows that asked for them, in their order.
    """

    drawn: Tensor
    logprobs: TopLogprobs | None = None

    @property
    def tokens(self) -> Tensor:
        """int64 [n]."""
        return self.drawn[0]

    @property
    def good(self) -> Tensor:
        """bool [n]; False where the logits were not finite and the token means nothing."""
        return self.drawn[1] != 0


def sample(logits: Tensor, rows: SamplingRows, packed: Packed, table: SamplingTable, last_tokens: Tensor) -> Sampled:
    """Draws a token for each row, and counts it where the slot uses penalties.

    Args:
        logits: [n, vocab]; may be changed.
        packed: holds what `pack_rows` added, sent.
        last_tokens: int64 [slots]; takes the tokens.
    """
    slots, positions = packed["sample.slots"], packed["sample.positions"]
    if rows.plain:
        return Sampled(
            draw_tokens(logits, slots, positions, table.floats, table.integers, last_tokens, limited=rows.truncates)
        )
    good = finite_rows(logits)
    logits = logits.float()
    if rows.penalised.size:
        which = _rows("penalised", rows.penalised, slots, packed)
        at = slots if which is None else slots[which]
        penalties = table.floats[at][:, PRESENCE : REPETITION + 1]
        part = logits if which is None else logits[which]
        part = penalise(part, table.counts.generated[at], table.counts.seen[at], penalties)
        logits = part if which is None else logits.index_copy_(0, which, part)
    for row in rows.biased.tolist():
        ids, values = table.bias[int(rows.slots[row])]
        logits[row].index_add_(0, ids, values)
    for row in rows.masked.tolist():
        logits[row].index_fill_(0, table.ends[int(rows.slots[row])], -torch.inf)
    drawn = draw_tokens(
        logits, slots, positions, table.floats, table.integers, last_tokens, limited=rows.truncates, good=good
    )
    tokens = drawn[0]
    reported: TopLogprobs | None = None
    if rows.reports.size:
        which = _rows("reports", rows.reports, slots, packed)
        if which is None:
            reported = top_logprobs(logits, tokens, rows.alternatives)
        else:
            reported = top_logprobs(logits[which], tokens[which], rows.alternatives)
    if rows.penalised.size:
        which = _rows("penalised", rows.penalised, slots, packed)
        table.counts.add(*((slots, tokens) if which is None else (slots[which], tokens[which])))
    return Sampled(drawn, reported)


def _rows(name: str, indices: Array, slots: Tensor, packed: Packed) -> Tensor | None:
    """The indices on the device; None if they are all rows, in order."""
    return None if indices.size == slots.shape[0] else packed[f"sample.{name}"]
