"""Tokens of pictures and rotary positions of a step, against a loop over single tokens."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.tiny_vl import ALL_KINDS, make_tiny_vl
from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.image_tokens import checked_spans, image_tokens, rotary_positions
from lightllm_rs.backend.plan import ranges
from lightllm_rs.checkpoint import Checkpoint
from lightllm_rs.messages.images import ImageSpan
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import Attach
from lightllm_rs.vision import ImageInput, PictureError, expand, open_geometry

SLOTS = 4


@st.composite
def prompts(draw: st.DrawFn) -> tuple[list[ImageSpan], int]:
    """Spans of a prompt, and its length."""
    spans, end = [], draw(st.integers(0, 3))
    for number in range(draw(st.integers(0, 3))):
        rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        spans.append(ImageSpan(end, rows * columns, bytes([number]) * 16, (1, rows, columns)))
        end += rows * columns + draw(st.integers(0, 3))
    return spans, end + 1


def naive_positions(spans: list[ImageSpan], length: int) -> list[tuple[int, int, int]]:
    """Of every token, and of 20 after the prompt."""
    found: list[tuple[int, int, int]] = []
    following = 0
    at = {span.start: span for span in spans}
    while len(found) < length + 20:
        span = at.get(len(found))
        if span is None:
            found.append((following,) * 3)
            following += 1
            continue
        _, rows, columns = span.grid
        found += [(following, following + row, following + column) for row in range(rows) for column in range(columns)]
        following += max(rows, columns)
    return found


@given(st.lists(prompts(), min_size=SLOTS, max_size=SLOTS), st.data())
def test_against_single_tokens(texts: list[tuple[list[ImageSpan], int]], data: st.DataObject) -> None:
    decodes = data.draw(st.integers(0, SLOTS - 1))
    slots = np.array(data.draw(st.permutations(range(SLOTS))), dtype=np.int64)
    everywhere = [naive_positions(*text) for text in texts]
    starts, tokens = [], []
    for row, slot in enumerate(slots.tolist()):
        length = texts[slot][1]
        start = data.draw(st.integers(length, length + 9) if row < decodes else st.integers(0, length - 1))
        starts.append(start)
        tokens.append(1 if row < decodes else data.draw(st.integers(1, length - start)))
    spans = {slot: text[0] for slot, text in enumerate(texts) if text[0]}
    offsets = np.array([everywhere[slot][text[1]][0] - text[1] for slot, text in enumerate(texts)])
    for slot, (of_slot, length) in enumerate(texts):
        attach = Attach(slot, length, Sampling(), None, int(offsets[slot]), of_slot)
        assert checked_spans(attach, three_axes=True) == of_slot

    arrays = slots, np.array(starts), np.array(tokens)
    images = image_tokens(*arrays, decodes, spans)
    wanted, of_batch = [], []
    for row, slot in enumerate(slots.tolist()):
        for position in range(starts[row], starts[row] + tokens[row]):
            owner = [span for span in texts[slot][0] if span.start <= position < span.start + span.tokens]
            if owner:
                wanted.append((len(of_batch), row, owner[0].key, position - owner[0].start))
            of_batch.append(everywhere[slot][position])
    found = [(part.row, part.span.key, index) for part in images.parts for index in range(part.first, part.last)]
    assert [(token, *part) for token, part in zip(images.tokens.tolist(), found, strict=True)] == wanted
    rope = rotary_positions(*arrays, decodes, ranges(arrays[1], arrays[2]), spans, offsets, bool(wanted))
    axes = rope.T.tolist() if wanted else [[position] * 3 for position in rope.tolist()]
    assert axes == [list(position) for position in of_batch]


def attach_of(offset: int, *spans: ImageSpan) -> Attach:
    return Attach(0, 20, Sampling(), None, offset, list(spans))


def test_spans_that_are_refused() -> None:
    span = ImageSpan(2, 6, bytes(16), (1, 2, 3))
    assert checked_spans(attach_of(-3, span), three_axes=True)
    assert checked_spans(attach_of(0, span), three_axes=False)
    for attach, axes, words in (
        (attach_of(0, span), True, "a position offset of 0 where images give -3"),
        (attach_of(-3, span), False, "a position offset of -3 where images give 0"),
        (attach_of(-6, span, span), True, "out of order"),
        (attach_of(0, ImageSpan(2, 0, bytes(16), (1, 1, 1))), False, "empty"),
        (attach_of(-3, ImageSpan(15, 6, bytes(16), (1, 2, 3))), True, "past the prompt"),
        (attach_of(0, ImageSpan(2, 6, bytes(16), (1, 0, 3))), False, "empty"),
    ):
        with pytest.raises(PlanError, match=words):
            checked_spans(attach, axes)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_no_request_can_contradict_its_images(kind: str, tmp_path: Path) -> None:
    """What an HTTP process makes of pictures of any size is what a rank takes: another offset would end the rank."""
    checkpoint = Checkpoint(make_tiny_vl(tmp_path / "model", kind), "tiny")
    geometry, three_axes = open_geometry(checkpoint), checkpoint.config().mrope is not None
    assert geometry is not None
    draw = random.Random(kind)
    seen = 0
    for _ in range(300):
        images, ids = [], [1]
        for _ in range(draw.randint(1, 4)):
            size = (int(2 ** draw.uniform(0, 13)), int(2 ** draw.uniform(0, 13)))
            with contextlib.suppress(PictureError):  # that is a 400
                images.append(ImageInput(bytes([len(images)] * 16), geometry.shape(*size)))
                ids += [geometry.placeholder, *[2] * draw.randint(0, 2)]
        expanded = expand(ids, images, geometry)
        spans = [ImageSpan(span.start, span.tokens, span.key, span.grid) for span in expanded.spans]
        attach = Attach(0, len(expanded.ids), Sampling(), None, expanded.position_offset, spans)
        assert checked_spans(attach, three_axes) == spans
        assert -len(expanded.ids) <= expanded.position_offset <= 0, "the router would refuse it"
        seen += len(spans)
    assert seen > 300
