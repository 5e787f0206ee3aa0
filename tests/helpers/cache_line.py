"""A line to a cache manager that is not there, for tests of those who have one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lightllm_rs.cache import CacheGone, State


class Lease:
    """Of an image that is to be written. Counted until it is given back, or nobody has it any more."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.state = State.WRITE
        line.leases.add(id(self))

    def write_data(self, data: bytes) -> None:
        self.state = State.PENDING

    def give_back(self) -> None:
        self._line.leases.discard(id(self))

    __del__ = give_back


class Line:
    """A line to a cache manager that answers a few turns later, or dies.

    Attributes:
        leases: that are out.
    """

    def __init__(self) -> None:
        self.leases: set[int] = set()
        self._answers: set[asyncio.Future[Any]] = set()
        self._gone = False

    async def _answer(self, make: Callable[[], Any]) -> Any:
        if self._gone:
            raise CacheGone("it has died")
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._answers.add(answer)
        loop.call_soon(loop.call_soon, self._come, answer, make)
        return await answer

    def _come(self, answer: asyncio.Future[Any], make: Callable[[], Any]) -> None:
        self._answers.discard(answer)
        if not answer.done():
            answer.set_result(make())

    async def acquire(self, wants: list[Any]) -> list[Lease]:
        return await self._answer(lambda: [Lease(self) for _ in wants])  # type: ignore[no-any-return]

    async def publish_data(self, leases: list[Lease]) -> None:
        await self._answer(lambda: None)

    async def wait(self, leases: list[Lease]) -> list[str]:
        return await self._answer(lambda: [State.READY] * len(leases))  # type: ignore[no-any-return]

    def release(self, leases: list[Lease]) -> None:
        for lease in leases:
            lease.give_back()

    def close(self) -> None:
        """The cache manager has died, or that is how it looks from here."""
        self._gone = True
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(CacheGone("it has died"))
        self.leases.clear()
