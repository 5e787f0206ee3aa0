"""Many fetches, and fetches that are given up: bounded, and nothing stays open."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from helpers.bad_host import answer, bad_host, endless
from lightllm_rs.media import Fetcher, Limits, MediaError, Overloaded

PATIENT = Limits(fetch_seconds=60.0, image_bytes=1 << 20)
URL = "http://pictures.example"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n"


def test_a_bounded_number_at_once_and_a_bounded_queue() -> None:
    limits = replace(PATIENT, fetches=2)

    async def run() -> None:
        async with bad_host() as host:
            go = asyncio.Event()

            async def held(out: asyncio.StreamWriter) -> None:
                await go.wait()
                await answer(b"x")(out)

            host.pages["/"] = held
            fetcher = Fetcher(limits, host.network)
            tasks = [asyncio.create_task(fetcher.fetch(URL, lambda size: None)) for _ in range(18)]
            await host.until(2)
            with pytest.raises(Overloaded):
                await fetcher.fetch(URL, lambda size: None)
            tasks.pop().cancel()
            go.set()
            assert await asyncio.gather(*tasks) == [b"x"] * 17
            assert host.most == 2
            assert await fetcher.fetch(URL, lambda size: None) == b"x", "there is room again"

    asyncio.run(run())


def test_a_cancelled_fetch_closes_its_connection() -> None:
    async def run() -> None:
        async with bad_host() as host:
            host.pages["/"] = endless(HEAD, b"x", 0.01)
            fetcher = Fetcher(PATIENT, host.network)
            task = asyncio.create_task(fetcher.fetch(URL, lambda size: None))
            await host.until(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await host.until(0)

    asyncio.run(run())


def test_a_host_that_never_begins_with_tls_leaves_nothing_open() -> None:
    async def run() -> None:
        async with bad_host(begins=False) as host:
            fetcher = Fetcher(replace(PATIENT, fetch_seconds=0.1), host.network)
            for _ in range(3):
                with pytest.raises(MediaError, match=r"0\.1 seconds"):
                    await fetcher.fetch("https://pictures.example/", lambda size: None)
                await host.until(0)

    asyncio.run(run())


def test_fetches_that_are_given_up_at_any_time_leave_nothing_open() -> None:
    async def run() -> None:
        async with bad_host() as host:
            host.pages["/"] = endless(HEAD, b"x", 0.01)
            fetcher = Fetcher(PATIENT, host.network)
            for turns in range(40):
                task = asyncio.create_task(fetcher.fetch(URL, lambda size: None))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await host.settled()  # a connection may be made after the end of its fetch
            await host.until(0)

    asyncio.run(run())
