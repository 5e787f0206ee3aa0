"""A call with images that ends between any two callbacks of the event loop: nothing is held, and nothing runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.cache_line import Line
from helpers.garbage import no_collector
from helpers.moments import moment
from lightllm_rs.http import image_cache
from lightllm_rs.http.call_images import CallImages
from lightllm_rs.http.image_cache import ImageCache
from lightllm_rs.media import Picture

SECONDS = 600.0
PICTURE = Picture(b"some bytes", bytes(32), 30, 20, "auto", "PNG", 600)
IMAGES = 2


class Caller:
    """As `Call` is to its images."""

    has_output = False

    def __init__(self) -> None:
        self.running = self.closed = False
        self.failures: list[Exception] = []

    def send(self, spans: list[Any], offset: int) -> None:
        assert not self.closed, "it would run with nobody to read it"
        assert not self.running, "it would run twice"
        self.running = True

    def withdraw(self) -> None:
        self.running = False

    def image_ready(self, image: int) -> None:
        assert self.closed or self.running

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.running = False


class Story:
    """A call with images, and the cache managers that come and go meanwhile."""

    def __init__(self) -> None:
        self.cache = ImageCache("http-0")
        self.call = Caller()
        observer = SimpleNamespace(images_ready=lambda seconds: None, image_resend=lambda: None)
        settings = SimpleNamespace(image_wait_timeout=SECONDS)
        service: Any = SimpleNamespace(image_cache=self.cache, observer=observer, settings=settings, threads=None)
        images = [SimpleNamespace(picture=replace(PICTURE), want=SimpleNamespace(key=bytes(16)))] * IMAGES
        spans = [SimpleNamespace(start=0, tokens=1, key=bytes(16), grid=(1, 1, 1))] * IMAGES
        prompt: Any = SimpleNamespace(images=images, spans=spans, position_offset=0, close=lambda: None)
        self.images = CallImages(service, prompt)

    def end(self) -> None:
        """As `Call.close` does it."""
        self.images.close()
        self.call.closed = True
        self.call.running = False

    @property
    def caller(self) -> Any:
        """The same for the type checker."""
        return self.call


async def still() -> None:
    """Nothing goes on any more; what waits for a time waits for ever."""
    for _ in range(50):
        await asyncio.sleep(0)


def at_each_moment(
    act: Callable[[Story], object], check: Callable[[Story, list[Line]], object], managers: int = 1, soon: int = 0
) -> None:
    """Does `act` in the first moment, then anew in the second, and so on while there is something going on, and checks
    what is there when nothing moves any more.

    Args:
        managers: the first one dies when the request was sent.
        soon: callbacks before `act`, the cache manager dies.
    """

    async def run(callbacks: int, patch: pytest.MonkeyPatch) -> bool:
        lines = [Line() for _ in range(managers)]
        there = iter(lines)
        patch.setattr(image_cache, "AsyncCacheClient", lambda *_, **__: next(there))
        story = Story()
        before = asyncio.all_tasks()
        with ExitStack() as moments:
            end = moments.enter_context(moment(callbacks + soon, lambda: act(story)))
            if soon:
                moments.enter_context(moment(callbacks, story.cache.disconnect))
            story.images.start(story.caller)
            for line in lines:
                await still()
                story.cache.connect(f"ipc:///{id(line)}")
            await still()
        came = end.come
        await still()
        check(story, lines)
        story.end()
        story.cache.disconnect()
        await still()
        assert asyncio.all_tasks() == before, "nothing goes on"
        assert not story.call.running
        assert not any(line.leases for line in lines), "nothing is held"
        return came

    callbacks = 0
    with no_collector(), pytest.MonkeyPatch.context() as patch:
        while asyncio.run(run(callbacks, patch)):
            callbacks += 1
    assert callbacks > 100, "there were such moments"


def holds_nothing(story: Story, lines: list[Line]) -> None:
    assert not story.call.running
    assert not any(line.leases for line in lines)
    assert not story.call.failures


@pytest.mark.parametrize("managers", [1, 2])
def test_a_call_that_ends_holds_nothing(managers: int) -> None:
    at_each_moment(Story.end, holds_nothing, managers)


def end_as_it_dies(story: Story) -> None:
    story.cache.disconnect()
    story.end()


def die_as_it_ends(story: Story) -> None:
    story.end()
    story.cache.disconnect()


@pytest.mark.parametrize("act", [end_as_it_dies, die_as_it_ends])
def test_a_call_that_ends_as_the_cache_manager_dies_holds_nothing(act: Callable[[Story], object]) -> None:
    at_each_moment(act, holds_nothing)


@pytest.mark.parametrize("soon", range(1, 8))
def test_a_call_that_ends_soon_after_the_cache_manager_has_died_holds_nothing(soon: int) -> None:
    at_each_moment(Story.end, holds_nothing, soon=soon)


def test_a_call_that_is_sent_again_runs_once() -> None:
    def check(story: Story, lines: list[Line]) -> None:
        assert story.call.running
        assert len(lines[0].leases) == IMAGES
        assert not story.call.failures

    at_each_moment(lambda story: story.images.again(story.caller), check)


def test_a_call_whose_images_come_too_late_fails_once_and_holds_nothing() -> None:
    def check(story: Story, lines: list[Line]) -> None:
        assert not story.call.running
        assert [error.code for error in story.call.failures] in (["image_timeout"], [])  # or they came in time

    def late(story: Story) -> None:
        story.images._too_late(story.caller, SECONDS)

    at_each_moment(late, check)
