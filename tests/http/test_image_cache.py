"""What becomes of requests with images while the cache manager, or all visual servers, are not there."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lightllm_rs.cache import State
from lightllm_rs.http import image_cache
from lightllm_rs.http.call_images import CallImages
from lightllm_rs.http.errors import ApiError, bad_request
from lightllm_rs.http.image_cache import MOST_DEADLY, ImageCache
from lightllm_rs.messages.images import IMAGE_DEADLY

PATIENCE = 60.0
KEYS = [bytes([number] * 16) for number in range(3)]


class Line:
    """A line to a cache manager in which the images named in `there` are ready."""

    def __init__(self, *there: bytes) -> None:
        self.there, self.acquired, self.released = there, False, []  # type: ignore[var-annotated]

    async def acquire(self, wants: list[Any]) -> list[Any]:
        self.acquired = True
        return [SimpleNamespace(state=State.READY) for _ in wants]

    async def lease(self, keys: list[bytes]) -> list[Any]:
        return [SimpleNamespace(state=State.READY) if key in self.there else None for key in keys]

    def release(self, leases: list[Any]) -> None:
        self.released += leases

    def close(self) -> None:
        pass


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    made = Line(*KEYS[:2])
    monkeypatch.setattr(image_cache, "AsyncCacheClient", lambda *_, **__: made)
    return made


def test_a_request_waits_for_a_cache_manager_that_comes(line: Line) -> None:
    async def run() -> None:
        cache = ImageCache("http-0")
        waiting = [asyncio.create_task(cache.client_after(None, PATIENCE)) for _ in range(3)]
        await asyncio.sleep(0)
        cache.connect("ipc:///cache-1.sock")
        assert [await one for one in waiting] == [line] * 3  # type: ignore[comparison-overlap]
        assert await cache.client_after(None, 0.0) is line  # type: ignore[comparison-overlap]
        cache.disconnect()

    asyncio.run(run())


def test_it_is_refused_if_none_comes() -> None:
    async def run() -> ApiError:
        with pytest.raises(ApiError) as refused:
            await ImageCache("http-0").client_after(None, 0.01)
        return refused.value

    error = asyncio.run(run())
    assert (error.status, error.code) == (503, "image_cache")
    assert error.retry_after > 0


def test_it_is_refused_at_once_with_the_time_if_the_next_try_is_far_away(line: Line) -> None:
    async def run() -> tuple[ApiError, ApiError]:
        cache = ImageCache("http-0")
        cache.down_for(1000.0)
        with pytest.raises(ApiError) as refused:
            await cache.client_after(None, 2.0)  # at once, or it would be the test's own time that runs out
        cache.down_for(0.01)
        with pytest.raises(ApiError) as late:
            await cache.client_after(None, 0.1)
        cache.down_for(None)
        assert cache.why_down() is None
        return refused.value, late.value

    refused, late = asyncio.run(run())
    assert (refused.status, refused.code) == (503, "images_unavailable")
    assert 2 < refused.retry_after <= 1001
    assert f"again in {refused.retry_after} s" in refused.message
    assert (late.status, late.code, late.retry_after) == (503, "images_unavailable", 2)


@pytest.mark.parametrize(("keys", "served"), [(KEYS[:2], True), (KEYS, False)])
def test_while_nothing_can_be_encoded_only_what_is_there_is_served(line: Line, keys: list[bytes], served: bool) -> None:
    async def run() -> ApiError | None:
        cache, over = ImageCache("http-0"), asyncio.get_running_loop().create_future()
        cache.connect("ipc:///cache-0.sock")
        cache.down_for(3.5)
        images = [SimpleNamespace(want=SimpleNamespace(key=key), picture=None) for key in keys]
        spans = [SimpleNamespace(start=0, tokens=1, key=key, grid=(1, 1, 1)) for key in keys]
        prompt: Any = SimpleNamespace(images=images, spans=spans, position_offset=0, close=lambda: None)
        call: Any = SimpleNamespace(
            has_output=False, fail=over.set_result, send=lambda spans, offset: over.set_result(None)
        )
        observer = SimpleNamespace(images_ready=lambda seconds: None)
        settings = SimpleNamespace(image_wait_timeout=PATIENCE)
        service: Any = SimpleNamespace(image_cache=cache, observer=observer, settings=settings)
        run = CallImages(service, prompt)
        run.start(call)
        error: ApiError | None = await asyncio.wait_for(over, PATIENCE)
        run.close()
        cache.disconnect()
        return error

    error = asyncio.run(run())
    assert not line.acquired, "nothing is reserved that nobody can encode"
    assert len(line.released) == 2
    if served:
        assert error is None
    else:
        assert error is not None
        assert (error.status, error.code) == (503, "images_unavailable")


def test_images_that_visual_servers_died_of_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        cache = ImageCache("http-0")
        keys = [number.to_bytes(16, "big") for number in range(MOST_DEADLY + 1)]
        for key in keys:
            cache.remember_deadly(key)
            cache.remember_deadly(keys[0])
        assert [cache.is_deadly(key) for key in (keys[0], keys[1], keys[2])] == [True, False, True]
        monkeypatch.setattr(image_cache, "DEADLY_SECONDS", 0.0)
        cache.remember_deadly(keys[0])
        assert not cache.is_deadly(keys[0])

    asyncio.run(run())


def test_such_an_image_is_refused_without_another_try(line: Line) -> None:
    async def run() -> ApiError:
        cache, over = ImageCache("http-0"), asyncio.get_running_loop().create_future()
        cache.connect("ipc:///cache-0.sock")
        cache.remember_deadly(KEYS[1])
        images = [SimpleNamespace(want=SimpleNamespace(key=key), picture=None) for key in KEYS]
        failure = lambda number, message: bad_request(f"images.{number}: {message}")  # noqa: E731
        prompt: Any = SimpleNamespace(images=images, spans=[], close=lambda: None, failure=failure)
        call: Any = SimpleNamespace(has_output=False, fail=over.set_result)
        service: Any = SimpleNamespace(image_cache=cache, settings=SimpleNamespace(image_wait_timeout=PATIENCE))
        images_of_call = CallImages(service, prompt)
        images_of_call.start(call)
        error: ApiError = await asyncio.wait_for(over, PATIENCE)
        images_of_call.close()
        cache.disconnect()
        return error

    error = asyncio.run(run())
    assert error.message == f"images.1: {IMAGE_DEADLY}"
    assert not line.acquired
