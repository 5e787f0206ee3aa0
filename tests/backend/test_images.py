"""Prompts with pictures through step plans, against transformers: final logits within 1e-4 relative, float32."""

from __future__ import annotations

import msgspec
import pytest

from helpers.plan_driver import with_settings
from helpers.seeing_backend import GONE, SeeingBackend
from helpers.seeing_prompts import ABOUT, FIRST, SECOND, THIRD, assert_close, wanted
from helpers.seeing_reference import Reference, picture
from helpers.tiny_seeing import IMAGE_TOKEN
from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.plan import read_plan
from lightllm_rs.messages.frames import pack_u32, unpack_u32
from lightllm_rs.messages.images import ImageSpan


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
