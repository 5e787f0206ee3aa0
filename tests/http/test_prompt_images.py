"""From sources to a prompt with images: who is cancelled on the way, or meets a fault of ours, holds no picture."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.bad_host import answer, bad_host
from helpers.image_parts import DATA, EXIF, EXIF_DATA, image, message
from helpers.moments import moment
from helpers.tiny_seeing import write_configs
from lightllm_rs.checkpoint import Checkpoint
from lightllm_rs.http import prompt_images
from lightllm_rs.http.image_model import ImageModel
from lightllm_rs.http.images import sources_of_messages
from lightllm_rs.http.prompt_images import with_images
from lightllm_rs.media import Fetcher, Limits, Loader
from lightllm_rs.vision import open_geometry

LIMITS = Limits(fetch_seconds=60.0)
FROM_THE_WEB = "http://pictures.example/there"


async def never() -> Any:
    await asyncio.sleep(3600)


REQUEST: Any = SimpleNamespace(receive=never)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ImageModel:
    """Of a tiny Qwen2-VL."""
    checkpoint = Checkpoint(write_configs(tmp_path_factory.mktemp("models") / "seeing", "qwen2_vl"), "tiny")
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    return ImageModel(geometry, checkpoint.config(), "auto", "cpu")


def in_service(model: ImageModel, work: Callable[[Any], Awaitable[None]], seen: Callable[[float], None]) -> None:
    async def run() -> None:
        async with bad_host() as host:
            host.pages["/there"] = answer(EXIF)
            with ThreadPoolExecutor(1) as threads:
                service = SimpleNamespace(
                    media=Loader(LIMITS, Fetcher(LIMITS, host.network)),
                    images=model,
                    engine=SimpleNamespace(ready=lambda: SimpleNamespace(context=1 << 20)),
                    observer=SimpleNamespace(images_fetched=seen),
                    threads=threads,
                )
                await work(service)
                await host.settled()
                await host.until(0)
                service.media.close()

    asyncio.run(asyncio.wait_for(run(), 120))


@pytest.mark.parametrize("url", [EXIF_DATA, FROM_THE_WEB], ids=["inline", "remote"])
def test_who_is_cancelled_at_any_moment_holds_nothing(
    model: ImageModel, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_images, "INLINE_TOKENS", 0)  # a thread names and places them

    async def work(service: Any) -> None:
        callbacks = 0
        while True:
            sources = sources_of_messages(service, [message(image(url))])
            prompt = [model.geometry.placeholder]
            salt = str(callbacks)  # what is known with the same salt is there at once
            task = asyncio.create_task(with_images(REQUEST, service, prompt, sources, salt, "messages"))
            with moment(callbacks, task.cancel) as cancel:
                await asyncio.wait([task])
            if not task.cancelled():
                _, images = task.result()
                assert images is not None
                assert service.media.held == len(EXIF)
                images.close()
            for _ in range(3):
                await asyncio.sleep(0)
            assert service.media.held == 0, callbacks
            if not cancel.come:
                break
            callbacks += 1
        assert callbacks > 10, "there were such moments"

    in_service(model, work, lambda seconds: None)


def test_a_fault_of_ours_holds_nothing(model: ImageModel) -> None:
    def seen(seconds: float) -> None:
        raise RuntimeError("a fault of ours")

    async def work(service: Any) -> None:
        sources = sources_of_messages(service, [message(image(DATA))])
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await with_images(REQUEST, service, [model.geometry.placeholder], sources, "", "messages")
        assert service.media.held == 0

    in_service(model, work, seen)
