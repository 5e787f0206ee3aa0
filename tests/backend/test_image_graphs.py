"""What captured graphs compute of prompts with pictures, against transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.seeing_backend import SeeingBackend
from helpers.seeing_prompts import ABOUT, FIRST, SECOND, THIRD, assert_close, wanted
from helpers.seeing_reference import Reference
from helpers.tiny_seeing import IMAGE_TOKEN
from lightllm_rs.backend.forward import decode_batch_of
from lightllm_rs.backend.mixed_layout import MixedLayout
from lightllm_rs.backend.plan import read_plan
from lightllm_rs.backend.step_rows import StepRows, step_rows
from lightllm_rs.backend.transfer import Packed


def next_rows(seeing: SeeingBackend) -> StepRows:
    """The rows of the driver's next step; its changes are made, the new pages, which a step sends, included."""
    backend = seeing.backend
    message, _ = seeing.driver.message()
    plan = read_plan(message, backend.capacity)
    backend.slots.apply(plan)
    backend.apply_changes(plan)
    packed = Packed()
    backend.state.pack_pages(packed)
    packed.send(backend.device)
    backend.state.take_pages(packed)
    return step_rows(plan, plan.decode, plan.prefill, backend.slots, {})


@pytest.mark.parametrize("prefix", [0, 3])
def test_layout_of_graphs_with_pictures(seeing: SeeingBackend, reference: Reference, prefix: int) -> None:
    """What a captured graph computes of a step whose prompts have pictures, beside a decode row."""
    pictures = [FIRST, SECOND, THIRD]
    prompt = seeing.prompt(ABOUT, pictures)
    seeing.attach(0, prompt)
    output = seeing.driver.generate(0, 3)
    other, third = seeing.prompt([*ABOUT[:7], 20, 21, 22], pictures[:2]), seeing.prompt([7, IMAGE_TOKEN, 8], [THIRD])
    seeing.attach(1, other, prefix_pages=seeing.driver.slots[0].pages[:prefix])
    seeing.attach(2, third)
    seeing.driver.decode(0)
    seeing.driver.prefill(1)
    seeing.driver.prefill(2)
    backend, rows = seeing.backend, next_rows(seeing)
    assert rows.images is not None
    assert backend.images is not None
    layout = MixedLayout(4, 64, backend.state, sees=True)
    room = backend.images.room(80).fill_(float("nan"))  # rows that are no picture's are never read
    with torch.inference_mode():
        features, errors = backend.images.rows(rows.images)
        room.index_copy_(0, torch.from_numpy(rows.images.tokens - rows.decode_rows), features)
        hidden = backend.model(layout.batch(torch.from_numpy(layout.array(rows)), room), backend.kv)
        found = backend.model.logits(hidden[layout.outputs(np.arange(3), 1)])
    assert not errors
    assert_close(found[0], wanted(reference, prompt, pictures, output)[-1])
    assert_close(found[1], wanted(reference, other, pictures[:2])[0])
    assert_close(found[2], wanted(reference, third, [THIRD])[0])


def test_layouts_of_graphs(seeing: SeeingBackend, reference: Reference) -> None:
    """What captured graphs compute: decode rows and prefill rows of prompts whose pictures are in the cache already."""
    pictures = [FIRST, SECOND, THIRD]
    prompt = seeing.prompt(ABOUT, pictures)
    seeing.attach(0, prompt)
    output = seeing.driver.generate(0, 3)
    pages = seeing.driver.slots[0].pages[:9]
    other = seeing.prompt([*ABOUT, 20, 21, 22], pictures)
    seeing.attach(1, other, prefix_pages=pages)
    seeing.driver.decode(0)
    seeing.driver.prefill(1)
    backend, rows = seeing.backend, next_rows(seeing)
    assert rows.images is None
    layout = MixedLayout(4, 64, backend.state, sees=True)
    decode = rows.positions[:1]
    with torch.inference_mode():
        hidden = backend.model(layout.batch(torch.from_numpy(layout.array(rows))), backend.kv)
        first, second = backend.model.logits(hidden[layout.outputs(np.arange(2), 1)])
        alone = decode_batch_of(torch.tensor([0]), torch.from_numpy(decode), None, backend.state)
        (again,) = backend.model.logits(backend.model(alone, backend.kv))
    assert_close(first, wanted(reference, prompt, pictures, output)[-1])
    assert_close(again, first)
    assert_close(second, wanted(reference, other, pictures)[0])
