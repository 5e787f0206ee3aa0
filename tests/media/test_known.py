"""Pictures whose headers were read before, or may be read on the event loop."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from helpers.pictures import encoded, gradient, oriented
from lightllm_rs.media import Limits, Loader, MediaError, Source, inspect, known, loader, plain, source_of_url
from lightllm_rs.media.formats import digest_of
from lightllm_rs.media.known import KnownPictures

PNG = encoded(gradient(20, 10))
JPEG = encoded(gradient(30, 40), "JPEG")
EXIF = oriented(gradient(30, 40), 6, "JPEG")
"""Its header is not plain."""


def inline(data: bytes) -> Source:
    return source_of_url("part", "data:image/png;base64," + base64.b64encode(data).decode())


def in_loader(work: Callable[[Loader], None], *seen: Source, limits: Limits | None = None) -> None:
    """Runs `work` with a loader that has taken `seen`."""

    async def run() -> None:
        loader = Loader(limits or Limits())
        for source in seen:
            (await loader.take([source])).close()
        work(loader)
        assert loader.held == 0
        loader.close()

    asyncio.run(run())


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, int]]:
    """The headers that are read, and in which threads."""
    read: list[tuple[bytes, int]] = []

    def reading(data: bytes, *rest: object, plain: bool) -> object:
        read.append((data, threading.get_ident()))
        return inspect(data, *rest, plain=plain)  # type: ignore[arg-type]

    monkeypatch.setattr(loader, "inspect", reading)
    return read


@pytest.mark.parametrize("at_once", [False, True])
def test_a_header_is_read_once(read: list[tuple[bytes, int]], at_once: bool) -> None:
    async def run() -> None:
        loader = Loader(Limits())
        for source in (inline(PNG), inline(JPEG), inline(PNG), replace(inline(PNG), detail="low"), inline(JPEG)):
            held = loader.take_at_once([source]) if at_once else await loader.take([source])
            assert held is not None
            (picture,) = held.pictures
            assert picture == inspect(picture.data, source.detail)
            held.close()
        loader.close()

    asyncio.run(run())
    assert [data for data, _ in read] == [PNG, JPEG, PNG], "with another detail it may have another size"
    assert {thread == threading.get_ident() for _, thread in read} == {at_once}


def test_headers_that_may_take_long_are_read_in_threads(read: list[tuple[bytes, int]]) -> None:
    def work(loader: Loader) -> None:
        held = loader.take_at_once([inline(EXIF)])
        assert held is not None
        assert (held.pictures[0].width, held.pictures[0].height) == (40, 30)
        held.close()

    in_loader(work, inline(EXIF))
    ((data, thread),) = read
    assert data == EXIF
    assert thread != threading.get_ident()


def test_of_the_headers_of_a_request_few_bytes_are_read_at_once(read: list[tuple[bytes, int]]) -> None:
    several = [inline(encoded(gradient(30, 40 + number), "JPEG")) for number in range(4)]
    many = [inline(encoded(gradient(30, 40 + number), "JPEG")) for number in range(16)]

    def work(loader: Loader) -> None:
        held = loader.take_at_once(several)
        assert held is not None
        held.close()
        assert len(read) == 4
        assert loader.take_at_once(many) is None
        assert sum(len(data[: data.index(b"\xff\xda")]) for data, _ in read[4:]) <= plain.MOST_BYTES

    in_loader(work)


def test_known_pictures_are_taken_at_once() -> None:
    def work(loader: Loader) -> None:
        held = loader.take_at_once([inline(PNG), inline(JPEG), inline(PNG)])
        assert held is not None
        assert held.pictures == [inspect(PNG), inspect(JPEG), inspect(PNG)]
        assert loader.held == 2 * len(PNG) + len(JPEG)
        held.close()

    in_loader(work, inline(PNG), inline(JPEG))


@pytest.mark.parametrize(
    "source",
    [
        inline(EXIF[:-1]),
        inline(JPEG + bytes(loader.AT_ONCE_LETTERS)),
        replace(inline(EXIF), detail="low"),
        inline(PNG[:30]),
        inline(PNG[:16] + bytes(4) + PNG[20:]),
        replace(inline(PNG), text="****"),
        source_of_url("part", "http://pictures.example/"),
        source_of_url("part", "file:///etc/passwd"),
    ],
)
def test_all_else_is_for_take(source: Source) -> None:
    def work(loader: Loader) -> None:
        assert loader.take_at_once([inline(PNG), source]) is None

    long = inline(JPEG + bytes(loader.AT_ONCE_LETTERS))
    in_loader(work, inline(PNG), inline(EXIF), long)


def test_who_has_another_salt_learns_nothing() -> None:
    async def run() -> None:
        loader = Loader(Limits())
        (await loader.take([inline(EXIF)], "ours")).close()
        for salt in ("", "theirs"):
            assert loader.take_at_once([inline(EXIF)], salt) is None
        held = loader.take_at_once([inline(EXIF)], "ours")
        assert held is not None
        held.close()
        loader.close()

    asyncio.run(run())


def test_a_plain_header_is_read_again_for_another_salt(read: list[tuple[bytes, int]]) -> None:
    def work(loader: Loader) -> None:
        for salt in ("", "theirs", "theirs", ""):
            held = loader.take_at_once([inline(PNG)], salt)
            assert held is not None
            held.close()

    in_loader(work)
    assert len(read) == 2


def test_limits_hold_for_known_pictures() -> None:
    def work(loader: Loader) -> None:
        many = [loader.take_at_once([inline(PNG)]) for _ in range(8)]
        assert all(many)
        assert loader.take_at_once([inline(PNG)]) is None
        for held in many:
            assert held is not None
            held.close()
        assert loader.take_at_once([inline(PNG)] * 9) is None

    in_loader(work, inline(PNG), limits=Limits(held_bytes=8 * len(PNG)))
    in_loader(work, inline(PNG), limits=Limits(request_bytes=8 * len(PNG), held_bytes=8 * len(PNG)))


def test_what_is_refused_is_refused_again() -> None:
    async def run() -> None:
        loader = Loader(Limits())
        for _ in range(2):
            with pytest.raises(MediaError):
                await loader.take([inline(PNG[:30])])
            assert loader.take_at_once([inline(PNG[:30])]) is None
        loader.close()

    asyncio.run(run())


def test_the_one_longest_unseen_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 2)
    pictures = [inspect(encoded(gradient(20 + number, 10))) for number in range(3)]
    remembered = KnownPictures()

    def is_known(number: int) -> bool:
        one = pictures[number]
        return remembered.find(one.data, digest_of(one.data), "auto", "") == one

    remembered.add(pictures[0], "")
    remembered.add(pictures[1], "")
    assert is_known(0)
    remembered.add(pictures[2], "")
    assert [is_known(number) for number in range(3)] == [True, False, True]
    assert not any(header.data for header in remembered._headers.values())
