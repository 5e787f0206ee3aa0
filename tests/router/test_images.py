"""Images at the router process: what ranks are told of them, what waits for them, what is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lightllm_rs.messages import control, requests, steps, telemetry
from lightllm_rs.messages.frames import encode, pack_u32, unpack_u32
from lightllm_rs.messages.images import FIRST_SYNTHETIC, MAX_SPANS, ImageSpan
from lightllm_rs.messages.router_start import JournalStart
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.replay import replay
from router.harness import WAIT_MS, hear, router

KEY = bytes(range(16))
PROMPT = [1, 2, 3, 4, 5, 6, *range(FIRST_SYNTHETIC, FIRST_SYNTHETIC + 4), 7, 8]
SPAN = ImageSpan(6, 4, KEY, (1, 2, 2))


def with_images(prompt: list[int], images: list[ImageSpan], **fields: object) -> requests.Add:
    neutral = {"request": 1, "max_tokens": 1, "sampling": Sampling()}
    return requests.Add(**{**neutral, **fields, "prompt": pack_u32(prompt), "images": images})


def rows_of(plan: steps.StepPlan) -> list[list[int]]:
    return [row[1:3] for row in unpack_u32(plan.rows).reshape(-1, steps.ROW_WORDS).tolist()]


def test_a_prompt_is_computed_up_to_an_image_and_on_when_it_is_ready(tmp_path: Path) -> None:
    with router(tmp_path, images=True) as it:
        client = it.client()
        client.send(encode(with_images(PROMPT, [SPAN], position_offset=-2)))
        ahead = it.plan()
        assert rows_of(ahead) == [[0, 4]]
        assert ahead.attach[0].images == [SPAN]
        assert ahead.attach[0].position_offset == -2
        it.answer(ahead)
        detached = it.plan()
        assert (unpack_u32(detached.detach).tolist(), detached.rows) == ([0], b"")
        it.answer(detached)
        client.send(encode(requests.ImageReady(1, 0)))
        rest = it.plan()
        assert rows_of(rest) == [[4, 8]]
        assert unpack_u32(rest.token_ids).tolist() == PROMPT[4:]
        assert rest.attach[0].images == [msgspec.structs.replace(SPAN, ready=True)]
        it.answer(rest, lambda _: 42)
        output = hear(client)
        assert isinstance(output, requests.StepOutput)
        [row] = output.rows
        assert row.finish == requests.LENGTH
        assert row.admission is not None
        assert row.admission.image_wait_us > 0
        values = it.report(lambda values: "lightllm_prefills_ahead_total" in values)
        assert values["lightllm_requests_awaiting_images"] == 0


def test_choices_are_told_of_one_by_one_or_together(tmp_path: Path) -> None:
    with router(tmp_path, images=True) as it:
        client = it.client()
        client.send(encode(with_images(PROMPT, [SPAN], siblings=[requests.Sibling(2, 0), requests.Sibling(3, 0)])))
        client.send(encode(requests.Abort([1])))
        client.send(encode(requests.ImageReady(1, 0)))  # it has ended: passed over
        for request in (3, 2):  # whoever is told first, the others wait with it
            client.send(encode(requests.ImageReady(request, 0)))
        ended: set[int] = set()
        while ended != {2, 3}:
            plan = it.plan()
            it.answer(plan)
            if any(flags & steps.EMITS for flags in unpack_u32(plan.rows)[4 :: steps.ROW_WORDS]):
                output = hear(client)
                assert isinstance(output, requests.StepOutput)
                ended |= {row.request for row in output.rows if row.finish}


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (with_images(PROMPT, []), "token id 2147483648 is not below the vocabulary size 100"),
        (with_images([1, 2], [ImageSpan(0, 1, KEY, (1, 1, 1))]), "token id 1 in its place is one of text"),
        (with_images(PROMPT, [ImageSpan(6, 7, KEY, (1, 1, 1))]), "it goes past the prompt"),
        (with_images(PROMPT, [ImageSpan(6, 0, KEY, (1, 1, 1)), SPAN]), "it has no positions"),
        (with_images(PROMPT, [SPAN, SPAN]), "it begins before the one before it ends"),
        (with_images(PROMPT, [ImageSpan(6, 4, KEY[1:], (1, 1, 1))]), "its key has not 16 bytes"),
        (with_images(PROMPT, [SPAN], position_offset=1), "position_offset is 1"),
        (with_images(PROMPT, [SPAN], sampling=Sampling(prompt_logprobs=0)), "log-probabilities of a prompt"),
        (
            with_images([FIRST_SYNTHETIC] * (MAX_SPANS + 1), [ImageSpan(i, 1, KEY, (1, 1, 1)) for i in range(1025)]),
            "give 1024 at most",
        ),
    ],
)
def test_wrong_images_are_refused_alone(tmp_path: Path, add: requests.Add, message: str) -> None:
    with router(tmp_path, images=True) as it:
        client = it.client()
        client.send(encode(msgspec.structs.replace(add, siblings=[requests.Sibling(2, 0)])))
        for request in (1, 2):
            failed = hear(client)
            assert isinstance(failed, requests.Failed)
            assert (failed.request, failed.kind) == (request, "invalid")
            assert message in failed.message
        client.send(encode(with_images(PROMPT, [msgspec.structs.replace(SPAN, ready=True)])))
        assert rows_of(it.plan()) == [[0, 12]]


def test_an_image_that_there_is_not_ends_its_request(tmp_path: Path) -> None:
    with router(tmp_path, images=True) as it:
        client = it.client()
        client.send(encode(with_images(PROMPT[4:], [ImageSpan(2, 4, KEY, (1, 2, 2))])))
        client.send(encode(requests.ImageReady(1, 1)))
        failed = hear(client)
        assert isinstance(failed, requests.Failed)
        assert (failed.kind, failed.request) == ("invalid", 1)
        client.send(encode(requests.ImageReady(1, 0)))
        client.send(encode(requests.ImageReady(77, 0)))
        client.send(encode(with_images(PROMPT, [msgspec.structs.replace(SPAN, ready=True)])))
        assert rows_of(it.plan()) == [[0, 12]], "it goes on"


def test_a_model_that_sees_nothing_takes_no_images(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(encode(with_images(PROMPT, [SPAN])))
        failed = hear(client)
        assert isinstance(failed, requests.Failed)
        assert (failed.kind, failed.message) == ("invalid", "the model takes no images")


def test_who_waits_for_an_image_is_refused_late_and_is_no_work(tmp_path: Path) -> None:
    with router(tmp_path, images=True, refuse_late=True) as it:
        client = it.client()
        prompt = [FIRST_SYNTHETIC, 5]
        client.send(encode(with_images(prompt, [ImageSpan(0, 1, KEY, (1, 1, 1))], deadline_ms=300)))
        failed = hear(client)  # though nothing else happens
        assert isinstance(failed, requests.Failed)
        assert failed.kind == "deadline"
        client.send(encode(with_images(prompt, [ImageSpan(0, 1, KEY, (1, 1, 1))])))
        assert it.report(lambda values: values["lightllm_requests_awaiting_images"] == 1)["queue_size"] == 1
        while it.health.receive(0) is not None:
            pass
        got = it.health.receive(WAIT_MS)
        assert got is not None
        beat = telemetry.health_decoder.decode(got[1])
        assert isinstance(beat, telemetry.Heartbeat)
        assert not beat.busy, "a picture that takes long is no hung backend"


def test_a_journal_with_images_replays(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with router(tmp_path, images=True, journal=JournalStart(str(path), False, bytes(16))) as it:
        client = it.client()
        client.send(encode(with_images(PROMPT, [SPAN])))
        it.answer(it.plan())
        it.answer(it.plan())
        client.send(encode(requests.ImageReady(1, 0)))
        it.answer(it.plan())
        assert isinstance(hear(client), requests.StepOutput)
        it.control.send(b"router", encode(control.Stop()))
        assert it.process.wait(60) == 0
    assert '"image_ready"' in path.read_text()
    report = replay(path)
    assert report.identical, report.first
