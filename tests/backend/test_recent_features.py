"""Features that stay on the device: who is asked for those that are not there, and what steps compute with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import pytest
import torch
from PIL import Image
from torch import Tensor

from helpers.seeing_backend import GONE as LOST
from helpers.seeing_backend import SeeingBackend
from helpers.seeing_prompts import ABOUT, FIRST, SECOND, THIRD, assert_close, wanted
from helpers.seeing_reference import Reference
from helpers.tiny_seeing import IMAGE_TOKEN
from lightllm_rs.backend import torch_backend
from lightllm_rs.backend.feature_ring import FeatureRing
from lightllm_rs.backend.image_features import ImageError, ImageFeatures
from lightllm_rs.backend.recent_features import RecentFeatures

WIDTH = 4
GONE = ImageError("gone")


class Source(ImageFeatures):
    """Makes features of a key's first letter; `gone` cannot be had."""

    def __init__(self) -> None:
        self.asked: list[list[bytes]] = []
        self.gone: set[bytes] = set()
        self.full = self.closed = False

    def fetch(self, keys: Sequence[bytes], tokens: Sequence[int], width: int) -> list[Tensor | ImageError]:
        if self.full:
            raise torch.OutOfMemoryError("no room")
        self.asked.append(list(keys))
        return [
            GONE if key in self.gone else torch.full((rows, width), float(key[0]))
            for key, rows in zip(keys, tokens, strict=True)
        ]

    def close(self) -> None:
        self.closed = True


def ring_of(rows: int) -> FeatureRing:
    return FeatureRing(rows * WIDTH * 4, WIDTH, torch.float32, torch.device("cpu"))


def fetch(recent: RecentFeatures, keys: list[bytes], rows: int = 2) -> None:
    found = recent.fetch(keys, [rows] * len(keys), WIDTH)
    for key, features in zip(keys, found, strict=True):
        assert isinstance(features, Tensor)
        assert torch.equal(features, torch.full((rows, WIDTH), float(key[0])))


def test_what_was_fetched_is_not_asked_for_again() -> None:
    source = Source()
    recent = RecentFeatures(source, ring_of(6))
    fetch(recent, [b"a", b"b"])
    fetch(recent, [b"c", b"b", b"a"])
    fetch(recent, [b"a"])
    assert source.asked == [[b"a", b"b"], [b"c"]]


def test_one_that_is_overwritten_by_those_that_it_is_fetched_with() -> None:
    source = Source()
    recent = RecentFeatures(source, ring_of(4))
    fetch(recent, [b"a"])
    fetch(recent, [b"b", b"c", b"a"])
    assert source.asked == [[b"a"], [b"b", b"c"]]
    fetch(recent, [b"a"])
    assert source.asked[-1] == [b"a"]


def test_more_than_there_is_room_for() -> None:
    source = Source()
    recent = RecentFeatures(source, ring_of(1))
    fetch(recent, [b"a", b"b"])
    fetch(recent, [b"a", b"b"])
    assert source.asked == [[b"a", b"b"]] * 2


def test_keys_that_differ_in_their_last_byte_are_other_pictures() -> None:
    """A salt or another `detail` makes another key of the same picture."""
    source = Source()
    recent = RecentFeatures(source, ring_of(8))
    keys = [bytes(15) + bytes([last]) for last in range(4)]
    fetch(recent, keys)
    fetch(recent, keys)
    assert source.asked == [keys]


def test_errors_are_not_kept() -> None:
    source = Source()
    source.gone = {b"a"}
    recent = RecentFeatures(source, ring_of(6))
    assert recent.fetch([b"a"], [2], WIDTH) == [GONE]
    source.gone.clear()
    fetch(recent, [b"b", b"a"])
    source.gone = {b"a", b"b", b"c"}
    fetch(recent, [b"a"])
    found = recent.fetch([b"b", b"c", b"a"], [2, 2, 2], WIDTH)
    assert [isinstance(features, Tensor) for features in found] == [True, False, True]


def test_a_device_that_was_full_once() -> None:
    source = Source()
    recent = RecentFeatures(source, ring_of(6))
    fetch(recent, [b"a"])
    source.full = True
    with pytest.raises(torch.OutOfMemoryError):
        recent.fetch([b"a", b"b"], [2, 2], WIDTH)
    fetch(recent, [b"a"])
    source.full = False
    fetch(recent, [b"b", b"a"])
    assert source.asked == [[b"a"], [b"b"]]


def test_another_cache_manager() -> None:
    """What came from the one before is still there."""
    before, after, ring = Source(), Source(), ring_of(6)
    first = RecentFeatures(before, ring)
    fetch(first, [b"a"])
    first.close()
    assert before.closed
    fetch(RecentFeatures(after, ring), [b"a", b"b"])
    assert after.asked == [[b"b"]]


@pytest.fixture
def remembering(seeing: SeeingBackend) -> Iterator[SeeingBackend]:
    """Room for the largest picture of these tests, and no other beside it."""
    images = seeing.backend.images
    assert images is not None
    rows = max(span.tokens for span in seeing.prompt(ABOUT, [FIRST, SECOND, THIRD]).spans)
    ring = FeatureRing(
        rows * images.width * seeing.backend.dtype.itemsize, images.width, seeing.backend.dtype, seeing.backend.device
    )
    images.source = RecentFeatures(seeing.features, ring)
    yield seeing
    images.source = seeing.features


def ask(
    seeing: SeeingBackend, reference: Reference, ids: list[int], pictures: list[Image.Image], chunk: int = 5
) -> None:
    prompt = seeing.prompt(ids, pictures)
    seeing.attach(0, prompt)
    while seeing.driver.slots[0].done < len(prompt.ids):
        seeing.driver.prefill(0, chunk)
        seeing.driver.step()
    assert_close(seeing.logits(), wanted(reference, prompt, pictures))
    seeing.driver.detach(0, free=True)


def test_steps_compute_the_same_with_what_is_there(remembering: SeeingBackend, reference: Reference) -> None:
    ask(remembering, reference, [5, IMAGE_TOKEN, 6], [FIRST])
    ask(remembering, reference, [7, 8, IMAGE_TOKEN, 9], [FIRST], chunk=100)
    assert len(remembering.features.asked) == 1
    ask(remembering, reference, [5, IMAGE_TOKEN, 6], [SECOND])
    assert len(remembering.features.asked) == 2


def test_a_picture_of_many_steps_while_others_are_written(remembering: SeeingBackend, reference: Reference) -> None:
    """Rows of a picture that is taken from the ring in one step and computed in later ones, when it is gone there."""
    ask(remembering, reference, [5, IMAGE_TOKEN, 6], [FIRST])
    remembering.features.asked.clear()
    long, other = remembering.prompt([9, IMAGE_TOKEN, 4], [FIRST]), remembering.prompt([IMAGE_TOKEN, 3], [SECOND])
    remembering.attach(1, long)
    remembering.driver.prefill(1, 3)
    remembering.driver.step()
    assert remembering.features.asked == []
    remembering.attach(2, other)
    remembering.driver.prefill(2)
    remembering.driver.step()
    assert_close(remembering.logits(), wanted(reference, other, [SECOND]))
    remembering.driver.prefill(1)
    remembering.driver.step()
    assert_close(remembering.logits(), wanted(reference, long, [FIRST]))
    assert remembering.features.asked == [[other.spans[0].key]]


def test_the_same_picture_twice_in_a_step(remembering: SeeingBackend, reference: Reference) -> None:
    for slot in (1, 2):
        remembering.attach(slot, remembering.prompt([10 + slot, IMAGE_TOKEN, 8, IMAGE_TOKEN], [FIRST, FIRST]))
    for asked in (1, 1):
        for slot in (1, 2):
            remembering.driver.prefill(slot)
        remembering.driver.step()
        got = remembering.logits()
        for slot in (1, 2):
            prompt = remembering.prompt([10 + slot, IMAGE_TOKEN, 8, IMAGE_TOKEN], [FIRST, FIRST])
            assert_close(got[slot - 1 : slot], wanted(reference, prompt, [FIRST, FIRST]))
            remembering.driver.detach(slot, free=True)
            remembering.attach(slot, prompt)
        assert len(remembering.features.asked) == asked


def test_a_request_that_is_aborted_inside_a_picture(remembering: SeeingBackend, reference: Reference) -> None:
    remembering.attach(1, remembering.prompt([9, IMAGE_TOKEN, 4], [FIRST]))
    remembering.driver.prefill(1, 3)
    remembering.driver.step()
    remembering.driver.detach(1, free=True)
    ask(remembering, reference, [5, IMAGE_TOKEN, 6], [FIRST])
    assert len(remembering.features.asked) == 1
    assert not remembering.backend.images._held  # type: ignore[union-attr]


def test_features_that_are_gone_are_asked_for_again(remembering: SeeingBackend, reference: Reference) -> None:
    prompt = remembering.prompt([5, IMAGE_TOKEN, 6], [FIRST])
    lost = remembering.features.by_key.pop(prompt.spans[0].key)
    remembering.attach(0, prompt)
    remembering.driver.prefill(0)
    assert remembering.driver.step().extras[0].error == LOST
    remembering.driver.detach(0, free=True)
    remembering.logits()
    remembering.features.by_key[prompt.spans[0].key] = lost
    ask(remembering, reference, [5, IMAGE_TOKEN, 6], [FIRST])


@pytest.mark.parametrize("ring", [False, True])
def test_a_backend_with_and_without_room(seeing: SeeingBackend, monkeypatch: pytest.MonkeyPatch, ring: bool) -> None:
    """On a GPU each cache manager's features go through the one ring that the start made; on a CPU there is none."""
    backend, images = seeing.backend, seeing.backend.images
    assert images is not None
    sources: list[Source] = []

    def connect(*_: object) -> Source:
        sources.append(Source())
        return sources[-1]

    monkeypatch.setattr(torch_backend, "CachedFeatures", connect)
    monkeypatch.setattr(backend, "ring", ring_of(6) if ring else None)
    try:
        for _ in range(2):
            backend.image_cache_up("ipc://nowhere")
            fetch(cast(RecentFeatures, images.source), [b"a"])
    finally:
        images.source = seeing.features
    assert [source.asked for source in sources] == [[[b"a"]], [] if ring else [[b"a"]]]
    assert [source.closed for source in sources] == [True, False]
