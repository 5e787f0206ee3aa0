"""From sources to pictures, under the limits of a request and of a process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.bad_host import BadHost, answer, bad_host, silent
from helpers.garbage import no_collector, until_gone
from helpers.pictures import encoded, gradient
from lightllm_rs.media import Fetcher, Limits, Loader, MediaError, Overloaded, Picture, Source, source_of_url
from lightllm_rs.media.loader import FETCHES

PATIENT = Limits(fetch_seconds=60.0)
PNG = encoded(gradient(20, 10))
JPEG = encoded(gradient(30, 40), "JPEG")
URL = "http://pictures.example"


def inline(data: bytes, number: int = 0) -> Source:
    return source_of_url(f"part.{number}", "data:image/png;base64," + base64.b64encode(data).decode())


async def loaded(loader: Loader, sources: Sequence[Source]) -> list[Picture]:
    held = await loader.take(sources)
    assert loader.held == sum(len(data) for data in {id(picture): picture.data for picture in held.pictures}.values())
    pictures = held.pictures
    held.close()
    held.close()
    assert loader.held == 0
    return pictures


async def web(host: BadHost, limits: Limits = PATIENT) -> Loader:
    return Loader(limits, Fetcher(limits, host.network))


def test_all_kinds_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)

    async def run() -> None:
        async with bad_host() as host:
            host.pages["/slow"] = answer(PNG)
            loader = await web(host, replace(PATIENT, folder=tmp_path))
            sources = [
                source_of_url("part.0", URL + "/slow"),
                inline(JPEG, 1),
                source_of_url("part.2", f"file://{tmp_path}/a.jpg", "low"),
                source_of_url("part.3", URL + "/slow"),
            ]
            pictures = await loaded(loader, sources)
            assert [picture.data for picture in pictures] == [PNG, JPEG, JPEG, PNG]
            assert [(picture.width, picture.height) for picture in pictures] == [(20, 10), (30, 40), (30, 40), (20, 10)]
            assert [picture.detail for picture in pictures] == ["auto", "auto", "low", "auto"]
            assert [picture.format for picture in pictures] == ["PNG", "JPEG", "JPEG", "PNG"]
            assert len(host.asked) == 1, "equal sources are fetched once"
            assert await loaded(loader, []) == []
            assert loader.held == 0
            loader.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (source_of_url("part.1", URL + "/missing"), "status 404"),
        (source_of_url("part.1", URL + "/page"), "web page"),
        (source_of_url("part.1", "http://127.0.0.1/"), "not one that this server may ask"),
        (source_of_url("part.1", "http://2130706433/"), "four decimal numbers"),
        (source_of_url("part.1", "file:///etc/passwd"), "reads no files"),
        (source_of_url("part.1", "data:image/png;base64,****"), "not valid base64"),
        (source_of_url("part.1", "data:image/png;base64,"), "empty"),
        (inline(b"<svg/>", 1), "SVG"),
        (inline(PNG[:30], 1), "damaged"),
    ],
)
def test_the_part_at_fault_is_named_and_the_others_end(source: Source, says: str) -> None:
    async def run() -> None:
        async with bad_host() as host:
            host.pages.update({"/silent": silent, "/page": answer(b"<html>", "Content-Type: image/png")})
            loader = await web(host)
            with pytest.raises(MediaError, match=says) as error:
                await loaded(loader, [inline(PNG), source, source_of_url("part.2", URL + "/silent")])
            assert error.value.param == "part.1"
            await host.until(0)
            assert loader.held == 0
            loader.close()

    asyncio.run(run())


def test_the_content_counts_and_not_what_it_is_called() -> None:
    async def run() -> None:
        async with bad_host() as host:
            host.pages["/a.txt"] = answer(JPEG, "Content-Type: text/plain")
            loader = await web(host)
            [picture] = await loaded(loader, [source_of_url("", URL + "/a.txt")])
            assert picture.format == "JPEG"
            loader.close()

    asyncio.run(run())


def test_the_bytes_of_a_request_are_bounded() -> None:
    async def run() -> None:
        async with bad_host() as host:
            host.pages.update({f"/{number}": answer(PNG) for number in range(3)})
            loader = await web(host, replace(PATIENT, request_bytes=2 * len(PNG)))
            sources = [source_of_url(f"part.{number}", f"{URL}/{number}") for number in range(3)]
            assert len(await loaded(loader, sources[:2])) == 2
            with pytest.raises(MediaError, match=f"larger than {2 * len(PNG)} bytes together"):
                await loaded(loader, sources)
            with pytest.raises(MediaError, match="together"):
                await loaded(loader, [inline(PNG), inline(JPEG), sources[0]])
            assert loader.held == 0
            loader.close()

    asyncio.run(run())


def test_one_image_is_bounded_whatever_its_kind(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(PNG)

    async def run() -> None:
        async with bad_host() as host:
            host.pages["/"] = answer(PNG)
            loader = await web(host, replace(PATIENT, image_bytes=len(PNG) - 1, folder=tmp_path))
            for source in (inline(PNG), source_of_url("", URL), source_of_url("", f"file://{tmp_path}/a")):
                with pytest.raises(MediaError, match=f"larger than {len(PNG) - 1} bytes") as error:
                    await loaded(loader, [source])
                assert error.value.code == "image_too_large"
            loader.close()
            loader = await web(host, replace(PATIENT, pixels=199))
            with pytest.raises(MediaError, match="more than 199 pixels"):
                await loaded(loader, [inline(PNG)])
            loader.close()

    asyncio.run(run())


def test_one_request_does_not_take_all_fetches() -> None:
    async def run() -> None:
        async with bad_host() as host:
            go = asyncio.Event()

            async def held(out: asyncio.StreamWriter) -> None:
                await go.wait()
                await answer(PNG)(out)

            host.pages.update({f"/{number}": held for number in range(12)})
            host.pages["/other"] = answer(JPEG)
            loader = await web(host, replace(PATIENT, fetches=6))
            many = asyncio.create_task(
                loader.take([source_of_url(f"part.{number}", f"{URL}/{number}") for number in range(12)])
            )
            await host.until(FETCHES)
            (await loader.take([source_of_url("part.0", f"{URL}/other")])).close()
            go.set()
            taken = await many
            assert [picture.data for picture in taken.pictures] == [PNG] * 12
            assert host.most <= FETCHES + 1
            taken.close()
            loader.close()

    asyncio.run(run())


def test_what_a_process_holds_is_bounded() -> None:
    async def run() -> None:
        async with bad_host() as host:
            loader = await web(host, replace(PATIENT, held_bytes=8 * len(PNG)))
            many = [await loader.take([inline(PNG)]) for _ in range(8)]
            assert loader.held == 8 * len(PNG)
            with pytest.raises(Overloaded):
                await loader.take([inline(PNG)])
            many.pop().close()
            many.append(await loader.take([inline(PNG)]))
            for held in many:
                held.close()
            assert loader.held == 0
            loader.close()

    asyncio.run(run())


def test_a_request_that_is_given_up_holds_nothing() -> None:
    async def run() -> None:
        async with bad_host() as host:
            host.pages["/silent"] = silent
            loader = await web(host)
            task = asyncio.create_task(loaded(loader, [inline(PNG), source_of_url("", URL + "/silent")]))
            await host.until(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await host.until(0)
            assert loader.held == 0
            loader.close()

    asyncio.run(run())


def test_a_refused_image_does_not_wait_for_the_garbage_collector() -> None:
    async def run() -> None:
        loader = Loader(PATIENT)
        source = inline(PNG[:30])
        gone = weakref.ref(source)
        with no_collector():
            with contextlib.suppress(MediaError):
                await loader.take([source, inline(PNG)])
            del source
            await until_gone(gone)
        loader.close()

    asyncio.run(run())
