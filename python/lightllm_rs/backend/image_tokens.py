"""The tokens of a step that stand for pictures, and their rotary positions. Host arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.plan import Array
from lightllm_rs.messages.images import ImageSpan
from lightllm_rs.messages.steps import Attach
from lightllm_rs.vision.mrope import advance, rope_positions

Spans = Sequence[ImageSpan]


@dataclass(frozen=True)
class SpanPart:
    """Row `row` of the batch, of slot `slot`, computes the tokens first .. last of the span."""

    row: int
    slot: int
    span: ImageSpan
    first: int
    last: int

    @property
    def finishes(self) -> bool:
        """Whether no later row of this request will need the picture."""
        return self.last == self.span.tokens


@dataclass(frozen=True)
class ImageTokens:
    """tokens: int64 [N], their indices in the batch. parts: in the same order, with N tokens together."""

    tokens: Array
    parts: list[SpanPart]


def checked_spans(attach: Attach, three_axes: bool) -> Spans:
    """A request's spans. Raises PlanError where they overlap, leave the prompt or contradict its position offset.

    That ends the rank, and no request can cause it: the router checks the spans, and HTTP works out the offset from
    them, by the rule of the same model.
    """
    end = offset = 0
    for span in attach.images:
        if span.start < end or span.tokens < 1 or min(span.grid) < 1:
            raise PlanError(f"slot {attach.slot}: the spans of its images are out of order or empty")
        end = span.start + span.tokens
        if three_axes:
            offset += advance(span.grid) - span.tokens
    if end > attach.prompt_len:
        raise PlanError(f"slot {attach.slot}: an image goes past the prompt")
    if offset != attach.position_offset:
        raise PlanError(f"slot {attach.slot}: a position offset of {attach.position_offset} where images give {offset}")
    return attach.images


def image_tokens(slots: Array, starts: Array, tokens: Array, decodes: int, spans: Mapping[int, Spans]) -> ImageTokens:
    """Of the rows `slots`, `starts`, `tokens` (int64 [R]), the first `decodes` of which decode. `spans`: by slot."""
    ends = np.cumsum(tokens)
    parts, found = [], []
    for row in range(decodes, slots.size):
        slot, start, end = int(slots[row]), int(starts[row]), int(starts[row] + tokens[row])
        row_first = int(ends[row] - tokens[row])
        for span in spans.get(slot, ()):
            first, last = max(span.start, start), min(span.start + span.tokens, end)
            if first < last:
                parts.append(SpanPart(row, slot, span, first - span.start, last - span.start))
                found.append(np.arange(first, last) - start + row_first)
    return ImageTokens(np.concatenate(found) if found else np.zeros(0, dtype=np.int64), parts)


def rotary_positions(
    slots: Array,
    starts: Array,
    tokens: Array,
    decodes: int,
    positions: Array,
    spans: Mapping[int, Spans],
    offsets: Array,
    seeing: bool,
) -> Array:
    """int64 [T], or [3, T] where the step computes tokens of pictures (`seeing`); rows as in `image_tokens`.

    positions: of the T tokens in their texts. offsets: int64 [slots], of tokens after the prompts.
    """
    rope: Array = np.tile(positions, (3, 1))
    rope[:, :decodes] += offsets[slots[:decodes]]
    end = decodes
    for row in range(decodes, slots.size):
        begin, end = end, end + int(tokens[row])
        if (own := spans.get(int(slots[row]))) is not None:
            rope[:, begin:end] = rope_positions(int(starts[row]), int(tokens[row]), own)
    return rope if seeing else rope[0]
