"""The clock of an HTTP process: it ends with the process, and the process with it."""

from __future__ import annotations

import asyncio

import pytest

from lightllm_rs.http.main import beside


async def for_ever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("ended")


async def broken() -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError("a fault")


async def short() -> None:
    await asyncio.sleep(0)


def test_the_clock_ends_with_the_work() -> None:
    ended: list[str] = []

    async def run() -> None:
        await beside(for_ever(ended), short())
        await asyncio.sleep(0)

    asyncio.run(run())
    assert ended == ["ended"]


def test_a_fault_of_the_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(beside(for_ever([]), broken()))


def test_a_fault_of_the_clock_ends_the_work() -> None:
    ended: list[str] = []
    with pytest.raises(ZeroDivisionError):
        asyncio.run(beside(broken(), for_ever(ended)))
    assert ended == ["ended"]
