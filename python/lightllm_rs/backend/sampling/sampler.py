"""From logits to tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.plan import Array
from lightllm_rs.backend.sampling.counts import penalise
from lightllm_rs.backend.sampling.draw import draw, keep_mask, scaled_logits
from lightllm_rs.backend.sampling.logprobs import TopLogprobs, top_logprobs
from lightllm_rs.backend.sampling.table import MIN_P, PRESENCE, REPETITION, TEMPERATURE, TOP_P, SamplingTable
from lightllm_rs.backend.sampling.uniform import uniform
from lightllm_rs.backend.transfer import Packed


@dataclass(frozen=True)
class SamplingRows:
    """The rows of one step that are sampled, and which of them need what; made on the host.

    Attributes:
        slots, positions: [n]; slot of each row and position of the token to be drawn.
        draws, penalised, reports: indices of the rows with a temperature, with penalties, with log-probabilities.
        biased, masked: the same for logit_bias and for end ids that may not come yet.
        largest_k: of the drawing rows' top_k.
        truncates, nucleus: any drawing row has a top_k, top_p or min_p; any has a top_p.
        alternatives: most alternatives that a reporting row asked for.
    """

    slots: Array
    positions: Array
    draws: Array
    penalised: Array
    reports: Array
    biased: Array
    masked: Array
    largest_k: int
    truncates: bool
    nucleus: bool
    alternatives: int


def sampling_rows(table: SamplingTable, slots: Array, positions: Array) -> SamplingRows:
    """What the sampler has to do for tokens at these positions of these slots, [n] each."""
    draws = np.flatnonzero(table.draws[slots])
    drawing = slots[draws]
    reports = np.flatnonzero(table.logprobs[slots] >= 0)
    return SamplingRows(
        slots=slots,
        positions=positions,
        draws=draws,
        penalised=np.flatnonzero(table.penalised[slots]),
        reports=reports,
        biased=np.flatnonzero(table.biased[slots]),
        masked=np.flatnonzero(table.masked(slots, positions)),
        largest_k=int(table.top_k[drawing].max(initial=0)),
        truncates=bool(table.truncates[drawing].any()),
        nucleus=bool(table.nucleus[drawing].any()),
        alternatives=int(table.logprobs[slots[reports]].max(initial=0)),
    )


def pack_rows(rows: SamplingRows, packed: Packed) -> None:
    """Adds what the device must know of the rows to a transfer."""
    packed.add("sample.slots", rows.slots)
    if rows.draws.size:
        packed.add("sample.positions", rows.positions)
    for name in ("draws", "penalised", "reports"):
        indices = getattr(rows, name)
        if 0 < indices.size < rows.slots.size:
            packed.add(f"sample.{name}", indices)


@dataclass
class Sampled:
    """Tokens and what is reported about them, on the device.

    Attributes:
        tokens: int64 [n].
        good: bool [n]; False where the logits were not finite and the token means nothing.
        logprobs: of the rows that asked for them, in their order.
    """

    tokens: Tensor
    good: Tensor
    logprobs: TopLogprobs | None


def sample(logits: Tensor, rows: SamplingRows, packed: Packed, table: SamplingTable) -> Sampled:
    """Draws a token for each row, and counts it where the slot uses penalties.

    Args:
        logits: float32 [n, vocab]; may be changed.
        packed: holds what `pack_rows` added, sent.
    """
    good = finite_rows(logits)
    slots = packed["sample.slots"]
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
    tokens = _choose(logits, rows, packed, table)
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
    return Sampled(tokens, good, reported)


def _choose(logits: Tensor, rows: SamplingRows, packed: Packed, table: SamplingTable) -> Tensor:
    if rows.draws.size == 0:
        return logits.argmax(-1)
    slots, positions = packed["sample.slots"], packed["sample.positions"]
    which = _rows("draws", rows.draws, slots, packed)
    if which is None:
        return _draw(logits, slots, positions, rows, table)
    tokens = logits.argmax(-1)
    return tokens.index_copy_(0, which, _draw(logits[which], slots[which], positions[which], rows, table))


def _draw(logits: Tensor, slots: Tensor, positions: Tensor, rows: SamplingRows, table: SamplingTable) -> Tensor:
    floats, integers = table.floats[slots], table.integers[slots]
    scaled = scaled_logits(logits, floats[:, TEMPERATURE : TEMPERATURE + 1])
    keep = None
    if rows.truncates:
        keep = keep_mask(
            scaled,
            integers[:, 1:2],
            floats[:, TOP_P : TOP_P + 1],
            floats[:, MIN_P : MIN_P + 1],
            largest_k=rows.largest_k,
            nucleus=rows.nucleus,
        )
    return draw(scaled, keep, uniform(integers[:, 0], positions))


def _rows(name: str, indices: Array, slots: Tensor, packed: Packed) -> Tensor | None:
    """The indices on the device; None if they are all rows, in order."""
    return None if indices.size == slots.shape[0] else packed[f"sample.{name}"]


def finite_rows(values: Tensor) -> Tensor:
    """Which rows of [n, m] hold finite numbers only: bool [n]. One infinity or NaN is enough to spoil a row's sum."""
    return torch.isfinite(values.sum(-1, dtype=torch.float32))
