"""Prompts with pictures through step plans, against transformers: final logits within 1e-4 relative, float32."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from helpers.plan_driver import with_settings
from helpers.seeing_backend import GONE, Prompt, SeeingBackend
from helpers.seeing_reference import Reference, picture
from helpers.tiny_seeing import IMAGE_TOKEN, KINDS, make_seeing_model
from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.forward import decode_batch_of
from lightllm_rs.backend.mixed_layout import MixedLayout
from lightllm_rs.backend.plan import Plan, read_plan
from lightllm_rs.backend.step_rows import step_rows
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.messages.frames import pack_u32, unpack_u32
from lightllm_rs.messages.images import ImageSpan

TOLERANCE = 1e-4
FIRST, SECOND, THIRD = picture(84, 112, 1), picture(200, 60, 2), picture(28, 28, 3)
ABOUT = [5, 6, 7, IMAGE_TOKEN, 8, 9, IMAGE_TOKEN, 15, IMAGE_TOKEN, 10, 11, 12, 13, 14]


@pytest.fixture(scope="module", params=KINDS)
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SeeingBackend, Reference]:
    folder = make_seeing_model(tmp_path_factory.mktemp("model"), request.param)
    return SeeingBackend(folder), Reference.of(folder, request.param)


@pytest.fixture
def seeing(known: tuple[SeeingBackend, Reference]) -> SeeingBackend:
    """With no requests in it."""
    seeing = known[0]
    seeing.reset()
    return seeing


@pytest.fixture
def reference(known: tuple[SeeingBackend, Reference]) -> Reference:
    return known[1]


def wanted(reference: Reference, prompt: Prompt, pictures: list[Image.Image], output: list[int] = []) -> Tensor:  # noqa: B006
    """Logits after the last token of the prompt and after each token of `output`."""
    return reference.logits([*prompt.plain, *output], pictures)[len(prompt.plain) - 1 :]


def assert_close(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error.item() < TOLERANCE


def test_prefill_and_decode(seeing: SeeingBackend, reference: Reference) -> None:
    """Several pictures of different sizes, text before, between and after; then eight tokens."""
    pictures = [FIRST, SECOND, THIRD]
    prompt = seeing.prompt(ABOUT, pictures)
    assert prompt.expanded.position_offset < 0
    seeing.attach(0, prompt)
    output = seeing.driver.generate(0, 8)
    assert_close(seeing.logits(), wanted(reference, prompt, pictures, output[:-1]))
    assert len(seeing.features.asked) == 1, "all at once, and once"
    assert len(seeing.features.asked[0]) == 3


@pytest.mark.parametrize("ids", [[IMAGE_TOKEN], [IMAGE_TOKEN, 4], [4, IMAGE_TOKEN], [IMAGE_TOKEN, IMAGE_TOKEN]])
def test_pictures_at_the_ends(seeing: SeeingBackend, reference: Reference, ids: list[int]) -> None:
    pictures = [SECOND, FIRST][: ids.count(IMAGE_TOKEN)]
    prompt = seeing.prompt(ids, pictures)
    seeing.attach(3, prompt)
    output = seeing.driver.generate(3, 3)
    if ids == [IMAGE_TOKEN, IMAGE_TOKEN]:
        return  # transformers takes two pictures without text between them for one; positions are tested elsewhere
    assert_close(seeing.logits(), wanted(reference, prompt, pictures, output[:-1]))


@pytest.mark.parametrize("chunk", [1, 3, 7, 16])
def test_chunks_that_end_inside_pictures(seeing: SeeingBackend, reference: Reference, chunk: int) -> None:
    pictures = [FIRST, SECOND, THIRD]
    prompt = seeing.prompt(ABOUT, pictures)
    seeing.attach(1, prompt)
    while seeing.driver.slots[1].done < len(prompt.ids):
        seeing.driver.prefill(1, chunk)
        seeing.driver.step()
    assert_close(seeing.logits(), wanted(reference, prompt, pictures))
    assert sorted(map(len, seeing.features.asked)) == [1, 1, 1] or chunk > 3
    assert sum(map(len, seeing.features.asked)) == 3, "each once, though many steps compute it"
    assert not seeing.backend.images._held, "nothing is kept"  # type: ignore[union-attr]


@pytest.mark.parametrize("pages", [1, 2, 4, 8])
def test_prefix_hits(seeing: SeeingBackend, reference: Reference, pages: int) -> None:
    """A request that begins with pages which another has filled: before, inside and after pictures."""
    pictures = [FIRST, SECOND, THIRD]
    first = seeing.prompt(ABOUT, pictures)
    seeing.attach(0, first)
    seeing.driver.generate(0, 2)
    held = seeing.driver.slots[0].pages
    seeing.features.asked.clear()
    seeing.logits()
    second = seeing.prompt([*ABOUT[:-3], 20, 21], pictures)
    assert second.ids[: 4 * pages] == first.ids[: 4 * pages]
    seeing.attach(1, second, prefix_pages=held[:pages])
    output = seeing.driver.generate(1, 4)
    assert_close(seeing.logits(), wanted(reference, second, pictures, output[:-1]))
    needed = [span.key for span in second.spans if span.start + span.tokens > 4 * pages]
    assert seeing.features.asked == ([needed] if needed else [])


def test_the_same_text_about_another_picture_shares_no_ids(seeing: SeeingBackend) -> None:
    first, second = seeing.prompt(ABOUT[:5], [FIRST]), seeing.prompt(ABOUT[:5], [picture(84, 112, 9)])
    assert first.plain == second.plain
    same = [a == b for a, b in zip(first.ids, second.ids, strict=True)]
    assert same == [token != IMAGE_TOKEN for token in first.plain]


def test_mixed_steps(seeing: SeeingBackend, reference: Reference) -> None:
    """Pictures of two requests in one step, beside decode rows of a third and the text of a fourth."""
    third = seeing.prompt([5, IMAGE_TOKEN, 6], [THIRD])
    seeing.attach(2, third)
    said = seeing.driver.generate(2, 3)
    seeing.logits()
    one, two = seeing.prompt([9, IMAGE_TOKEN, 6, 6], [FIRST]), seeing.prompt([IMAGE_TOKEN, 30], [SECOND])
    text = seeing.prompt([40, 41, 42, 43, 44], [])
    for slot, prompt in ((0, one), (1, two), (5, text)):
        seeing.attach(slot, prompt)
    seeing.driver.decode(2)
    seeing.driver.prefill(0)
    seeing.driver.prefill(1, 5)
    seeing.driver.prefill(5)
    tokens = seeing.driver.step().tokens
    got = seeing.logits()
    assert_close(got[0], wanted(reference, third, [THIRD], said)[-1])
    assert_close(got[1], wanted(reference, one, [FIRST])[0])
    assert_close(got[2], wanted(reference, text, [])[0])
    for slot in (2, 0, 5):
        seeing.driver.decode(slot)
    seeing.driver.prefill(1)
    seeing.driver.step()
    got = seeing.logits()
    assert_close(got[0], wanted(reference, third, [THIRD], [*said, tokens[2]])[-1])
    assert_close(got[1], wanted(reference, one, [FIRST], [tokens[0]])[-1])
    assert_close(got[2], wanted(reference, text, [], [tokens[5]])[-1])
    assert_close(got[3], wanted(reference, two, [SECOND])[0])


def test_a_resumed_request_computes_its_output_as_prompt(seeing: SeeingBackend, reference: Reference) -> None:
    """After preemption, prompt and output come as one row."""
    prompt = seeing.prompt(ABOUT, [FIRST, SECOND, THIRD])
    seeing.attach(0, prompt)
    output = seeing.driver.generate(0, 4)
    seeing.driver.detach(0, free=True)
    seeing.logits()
    seeing.driver.attach(
        6,
        [*prompt.ids, *output],
        prompt_len=len(prompt.ids),
        position_offset=prompt.expanded.position_offset,
        images=prompt.spans,
    )
    seeing.driver.prefill(6, len(prompt.ids) + 2)
    seeing.driver.step()
    again = seeing.driver.generate(6, 2)
    assert_close(seeing.logits(), wanted(reference, prompt, [FIRST, SECOND, THIRD], [*output, *again[:-1]])[-2:])


def test_features_that_are_gone_fail_their_request_alone(seeing: SeeingBackend, reference: Reference) -> None:
    lost = seeing.prompt([5, IMAGE_TOKEN, 6, IMAGE_TOKEN], [picture(56, 56, 77), FIRST])
    kept = seeing.prompt([7, IMAGE_TOKEN, 8], [FIRST])
    silent = seeing.prompt([7, IMAGE_TOKEN, 8], [picture(56, 84, 78)])
    for prompt in (lost, silent):
        del seeing.features.by_key[prompt.spans[0].key]
    for slot, prompt in ((0, lost), (1, kept), (2, silent)):
        seeing.attach(slot, prompt)
    seeing.driver.prefill(0)
    seeing.driver.prefill(1)
    seeing.driver.prefill(2, 3)
    result = seeing.driver.step()
    assert {slot: extra.error for slot, extra in result.extras.items()} == {0: GONE, 2: GONE}
    assert set(result.tokens) == {1}
    assert_close(seeing.logits()[1], wanted(reference, kept, [FIRST])[0])
    seeing.driver.detach(0)
    seeing.driver.detach(2)
    seeing.driver.decode(1)
    assert set(seeing.driver.step().tokens) == {1}
    assert not seeing.backend.images._held  # type: ignore[union-attr]


def test_penalties_and_scores_pass_over_pictures(seeing: SeeingBackend) -> None:
    """What stands for a picture is no token: not to be repeated, and without a probability."""
    prompt = seeing.prompt([5, 6, IMAGE_TOKEN, 8, 9], [FIRST])
    seeing.attach(0, prompt, sampling=with_settings(repetition=1.3, frequency=0.2, prompt_logprobs=2))
    seeing.driver.prefill(0)
    result = seeing.driver.step()
    scores = result.extras[0].prompt_logprobs
    assert scores is not None
    assert len(scores) == len(prompt.ids) - 1
    counts = seeing.backend.state.sampling.counts
    assert counts.seen[0].nonzero().view(-1).tolist() == sorted({5, 6, 8, 9, result.tokens[0]})
    assert counts.generated[0].sum() == 1


def test_plans_that_contradict_themselves(seeing: SeeingBackend) -> None:
    prompt = seeing.prompt([5, IMAGE_TOKEN, 6], [FIRST])

    def launch(**changes: object) -> None:
        seeing.attach(0, prompt)
        seeing.driver.prefill(0)
        message, _ = seeing.driver.message()
        ids = unpack_u32(message.token_ids).copy()
        ids[2] = changes.pop("third", ids[2])
        attach = msgspec.structs.replace(message.attach[0], **changes)
        changed = msgspec.structs.replace(message, attach=[attach], token_ids=pack_u32(ids))
        plan = read_plan(changed, seeing.backend.capacity)
        seeing.reset()
        seeing.backend.slots.apply(plan)
        seeing.backend.mixed_batch(plan, plan.decode, plan.prefill)

    (span,) = prompt.spans
    apart = ImageSpan(span.start + 1, span.tokens, span.key, span.grid)
    for changes, words in (
        ({"position_offset": 3}, "position offset of 3"),
        ({"images": []}, "position offset|ids that stand for images"),
        ({"images": [apart], "prompt_len": 90}, "ids that stand for images are not where"),
        ({"images": [span, span]}, "out of order"),
        ({"prompt_len": 3}, "past the prompt"),
        ({"third": 7}, "ids that stand for images are not where"),
        ({"third": 1 << 30}, "a token id is out of range"),
    ):
        with pytest.raises(PlanError, match=words):
            launch(**changes)


def test_text_takes_no_features(seeing: SeeingBackend, reference: Reference) -> None:
    prompt = seeing.prompt([40, 41, 42, 43], [])
    seeing.attach(4, prompt)
    output = seeing.driver.generate(4, 5)
    assert_close(seeing.logits(), wanted(reference, prompt, [], output[:-1]))
    assert seeing.features.asked == []


def apply_changes(backend: TorchBackend, plan: Plan) -> None:
    """With the new pages, which are sent with a step's rows."""
    backend.apply_changes(plan)
    packed = Packed()
    backend.state.pack_pages(packed)
    packed.send(backend.device)
    backend.state.take_pages(packed)


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
    message, _ = seeing.driver.message()
    backend = seeing.backend
    plan = read_plan(message, backend.capacity)
    backend.slots.apply(plan)
    apply_changes(backend, plan)
    rows = step_rows(plan, plan.decode, plan.prefill, backend.slots, {})
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
    message, _ = seeing.driver.message()
    backend = seeing.backend
    plan = read_plan(message, backend.capacity)
    backend.slots.apply(plan)
    apply_changes(backend, plan)
    rows = step_rows(plan, plan.decode, plan.prefill, backend.slots, {})
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
