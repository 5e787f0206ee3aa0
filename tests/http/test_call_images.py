"""Names of images, and the leases of a call that is broken off."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.tiny_seeing import write_configs
from lightllm_rs.cache import CacheCorrupt, CacheGone, State
from lightllm_rs.checkpoint import Checkpoint
from lightllm_rs.http.call_images import INLINE_BYTES, CallImages
from lightllm_rs.http.errors import ApiError
from lightllm_rs.http.image_model import KEY_BYTES, ImageModel
from lightllm_rs.media import Picture
from lightllm_rs.media.formats import digest_of
from lightllm_rs.vision import open_geometry

SECONDS = 60.0
PICTURE = Picture(b"some bytes", digest_of(b"some bytes"), 30, 20, "auto", "PNG", 600)
OTHER = replace(PICTURE, data=b"other bytes", digest=digest_of(b"other bytes"))
WANT = SimpleNamespace(key=bytes(16))


def model(folder: Path, kind: str = "qwen2_vl", dtype: str = "auto", device: str = "cpu") -> ImageModel:
    checkpoint = Checkpoint(write_configs(folder / kind, kind), "tiny")
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    return ImageModel(geometry, checkpoint.config(), dtype, device)


def test_a_key_covers_all_that_features_depend_on(tmp_path: Path) -> None:
    one = model(tmp_path)
    key = one.key(PICTURE, "")
    assert len(key) == KEY_BYTES
    assert model(tmp_path).key(PICTURE, "") == key  # the same in every process
    others = [
        one.key(OTHER, ""),
        one.key(replace(PICTURE, detail="low"), ""),
        one.key(PICTURE, "salt"),
        one.key(OTHER, "salt"),
        model(tmp_path, "qwen3_vl").key(PICTURE, ""),
    ]
    assert len({key, *others}) == 1 + len(others)


def test_parts_of_a_key_cannot_run_into_each_other(tmp_path: Path) -> None:
    one = model(tmp_path)
    assert one.key(PICTURE, "ab") != one.key(replace(PICTURE, digest=b"b" + PICTURE.digest), "a")


@pytest.mark.parametrize(
    ("dtype", "device", "size"),
    [("auto", "cpu", 4), ("auto", "cuda", 2), ("float16", "cpu", 2), ("float32", "cuda", 4)],
)
def test_the_size_of_features_goes_by_the_dtype(tmp_path: Path, dtype: str, device: str, size: int) -> None:
    one = model(tmp_path, dtype=dtype, device=device)
    shape = one.geometry.shape(PICTURE.width, PICTURE.height)
    want = one.want(one.key(PICTURE, ""), PICTURE, shape)
    assert want.feature_len == shape.tokens * 64 * size
    assert (want.data_len, want.pixels, want.original_pixels) == (len(PICTURE.data), shape.pixels, 600)


def service_of(client: object, threads: ThreadPoolExecutor | None = None, seconds: float = SECONDS) -> Any:
    async def client_after(lost: Any, seconds: float) -> object:
        return client

    settings = SimpleNamespace(image_wait_timeout=seconds)
    cache = SimpleNamespace(client_after=client_after, why_down=lambda: None, is_deadly=lambda key: False)
    return SimpleNamespace(image_cache=cache, threads=threads, settings=settings)


class SlowLease:
    """To be written, which takes until the test says so."""

    state = State.WRITE

    def __init__(self) -> None:
        self.writing, self.go_on = threading.Event(), threading.Event()

    def write_data(self, data: bytes) -> None:
        self.writing.set()
        assert self.go_on.wait(SECONDS)


def test_pages_are_given_back_only_when_nobody_writes_to_them_any_more() -> None:
    lease, released = SlowLease(), asyncio.Event()

    class Client:
        async def acquire(self, wants: list[Any]) -> list[Any]:
            return [lease]

        def release(self, leases: list[Any]) -> None:
            assert leases == [lease]
            released.set()

    async def run() -> None:
        with ThreadPoolExecutor(1) as threads:
            client = Client()
            service = service_of(client, threads)
            picture = SimpleNamespace(picture=replace(PICTURE, data=bytes(INLINE_BYTES + 1)), want=WANT)
            prompt: Any = SimpleNamespace(images=[picture], spans=[None], position_offset=0, close=lambda: None)
            call: Any = SimpleNamespace(has_output=False)
            images = CallImages(service, prompt)
            images.start(call)
            assert await asyncio.to_thread(lease.writing.wait, SECONDS)
            images.close()
            await asyncio.sleep(0.05)
            assert not released.is_set(), "a thread still writes there"
            lease.go_on.set()
            await asyncio.wait_for(released.wait(), SECONDS)

    asyncio.run(run())


@pytest.mark.parametrize("error", [CacheCorrupt("a record is of another item"), RuntimeError("a fault of ours")])
def test_what_nobody_expects_ends_the_call(error: Exception) -> None:
    class Client:
        async def acquire(self, wants: list[Any]) -> list[Any]:
            raise error

    async def run() -> ApiError:
        client, failed = Client(), asyncio.get_running_loop().create_future()
        service = service_of(client)
        prompt: Any = SimpleNamespace(images=[], spans=[], position_offset=0, close=lambda: None)
        call: Any = SimpleNamespace(has_output=False, fail=failed.set_result)
        images = CallImages(service, prompt)
        images.start(call)
        try:
            return await asyncio.wait_for(failed, SECONDS)
        finally:
            images.close()

    answer = asyncio.run(run())
    assert answer.status == 500
    assert str(error) not in answer.message


def test_a_call_whose_images_never_come_is_answered() -> None:
    class Lease:
        state = State.PENDING

    class Client:
        released: list[Any] | None = None

        async def acquire(self, wants: list[Any]) -> list[Any]:
            return [Lease()]

        async def wait(self, leases: list[Any]) -> list[Any]:
            await asyncio.Event().wait()
            raise AssertionError

        def release(self, leases: list[Any]) -> None:
            self.released = leases

    async def run() -> None:
        client, failed = Client(), asyncio.get_running_loop().create_future()
        prompt: Any = SimpleNamespace(
            images=[SimpleNamespace(picture=PICTURE, want=WANT)],
            spans=[SimpleNamespace(start=0, tokens=1, key=bytes(16), grid=[1, 1, 1])],
            position_offset=0,
            close=lambda: None,
        )
        call: Any = SimpleNamespace(has_output=False, fail=failed.set_result, send=lambda spans, offset: None)
        images = CallImages(service_of(client, seconds=0.05), prompt)
        images.start(call)
        answer: ApiError = await asyncio.wait_for(failed, SECONDS)
        assert (answer.status, answer.code) == (503, "image_timeout")
        images.close()
        assert client.released is not None, "the lease is given back"

    asyncio.run(run())


@pytest.mark.parametrize("end", [State.FAILED, State.WRITE, "gone", "late"])
def test_an_image_that_a_cached_prefix_covers_need_not_come(end: str) -> None:
    """The call has begun to answer without it, and its pictures are not here any more."""

    class Lease:
        state, error = State.PENDING, "the image is damaged"

    class Client:
        def __init__(self) -> None:
            self.generated = asyncio.Event()

        async def acquire(self, wants: list[Any]) -> list[Any]:
            return [Lease()]

        async def wait(self, leases: list[Any]) -> list[Any]:
            await self.generated.wait()
            if end == "gone":
                raise CacheGone("it has died")
            if end == "late":
                await asyncio.sleep(3600)
            return [end]

        def release(self, leases: list[Any]) -> None:
            pass

    async def run() -> tuple[list[int], list[ApiError]]:
        client, told = Client(), asyncio.Queue[int]()
        failed: list[ApiError] = []
        span = SimpleNamespace(start=0, tokens=1, key=bytes(16), grid=(1, 1, 1))
        pictures = [SimpleNamespace(picture=PICTURE, want=WANT)]
        prompt: Any = SimpleNamespace(images=pictures, spans=[span], position_offset=0, close=pictures.clear)
        call: Any = SimpleNamespace(has_output=False, fail=failed.append, image_ready=told.put_nowait)
        service = service_of(client)
        service.observer = SimpleNamespace(images_ready=lambda seconds: None)
        images = CallImages(service, prompt)

        def send(spans: Any, offset: int) -> None:
            call.has_output = True
            images.generated()
            client.generated.set()
            if end == "late":
                images._too_late(call, SECONDS)

        call.send = send
        images.start(call)
        try:
            return [await asyncio.wait_for(told.get(), SECONDS)], failed
        finally:
            images.close()

    assert asyncio.run(run()) == ([0], []), "should it need the image after all, it is not to wait for ever"


def test_a_call_that_is_sent_again_waits_for_a_cache_manager() -> None:
    class Ready:
        state = State.READY

    class Client:
        async def acquire(self, wants: list[Any]) -> list[Any]:
            return [Ready()]

        def release(self, leases: list[Any]) -> None:
            pass

    class Cache:
        """Whose cache manager has died, unless `up`."""

        def __init__(self) -> None:
            self.up = asyncio.Event()
            self.up.set()

        async def client_after(self, lost: Any, seconds: float) -> Client:
            await self.up.wait()
            return Client()

        def why_down(self) -> None:
            return None

        def is_deadly(self, key: bytes) -> bool:
            return False

    async def run() -> tuple[int, list[ApiError]]:
        cache, sent, failed = Cache(), asyncio.Queue[int](), []
        observer = SimpleNamespace(image_resend=lambda: None, images_ready=lambda seconds: None)
        service: Any = SimpleNamespace(
            image_cache=cache, observer=observer, settings=SimpleNamespace(image_wait_timeout=SECONDS)
        )
        span = SimpleNamespace(start=0, tokens=1, key=bytes(16), grid=(1, 1, 1))
        image = SimpleNamespace(picture=PICTURE, want=WANT)
        prompt: Any = SimpleNamespace(images=[image], spans=[span], position_offset=0, close=lambda: None)
        call: Any = SimpleNamespace(
            has_output=False,
            send=lambda spans, offset: sent.put_nowait(len(spans)),
            withdraw=lambda: None,
            fail=failed.append,
        )
        images = CallImages(service, prompt)
        images.start(call)
        assert await asyncio.wait_for(sent.get(), SECONDS) == 1
        cache.up.clear()
        assert images.again(call)
        await asyncio.sleep(0.05)
        assert sent.empty()
        cache.up.set()
        again = await asyncio.wait_for(sent.get(), SECONDS) if not failed else 0
        assert not images.again(call), "twice is enough"
        images.close()
        return again, failed

    assert asyncio.run(run()) == (1, [])
