"""Pictures whose headers were read before."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace

import pytest

from helpers.pictures import encoded, gradient
from lightllm_rs.media import Limits, Loader, MediaError, Source, inspect, known, loader, source_of_url
from lightllm_rs.media.formats import digest_of
from lightllm_rs.media.known import KnownPictures

PNG = encoded(gradient(20, 10))
JPEG = encoded(gradient(30, 40), "JPEG")


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


def test_a_header_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def reading(data: bytes, *rest: object) -> object:
        read.append(data)
        return inspect(data, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(loader, "inspect", reading)

    async def run() -> None:
        loader = Loader(Limits())
        for source in (inline(PNG), inline(JPEG), inline(PNG), replace(inline(PNG), detail="low"), inline(JPEG)):
            held = await loader.take([source])
            (picture,) = held.pictures
            assert picture == inspect(picture.data, source.detail)
            held.close()
        loader.close()

    asyncio.run(run())
    assert read == [PNG, JPEG, PNG], "what is asked for with another detail may have another size"


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
        inline(encoded(gradient(20, 11))),
        inline(PNG[:-1]),
        inline(JPEG + bytes(loader.AT_ONCE_LETTERS)),
        replace(inline(PNG), detail="low"),
        replace(inline(PNG), text="****"),
        source_of_url("part", "http://pictures.example/"),
        source_of_url("part", "file:///etc/passwd"),
    ],
)
def test_all_else_is_for_take(source: Source) -> None:
    def work(loader: Loader) -> None:
        assert loader.take_at_once([inline(PNG), source]) is None

    long = inline(JPEG + bytes(loader.AT_ONCE_LETTERS))
    in_loader(work, inline(PNG), long)


def test_who_has_another_salt_learns_nothing() -> None:
    async def run() -> None:
        loader = Loader(Limits())
        (await loader.take([inline(PNG)], "ours")).close()
        for salt in ("", "theirs"):
            assert loader.take_at_once([inline(PNG)], salt) is None
        held = loader.take_at_once([inline(PNG)], "ours")
        assert held is not None
        held.close()
        loader.close()

    asyncio.run(run())


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
