"""Something happens between any two callbacks of an event loop: what comes then must find nothing half done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


class Moment:
    """The moment after so many callbacks.

    Attributes:
        come: whether it has come.
    """

    def __init__(self, callbacks: int, act: Callable[[], object]) -> None:
        self._left, self._act = callbacks, act
        self.come = False

    def callback_ran(self) -> None:
        """One more."""
        self._left -= 1
        if self._left < 0 and not self.come:
            self.come = True
            self._act()


@contextmanager
def moment(callbacks: int, act: Callable[[], object]) -> Iterator[Moment]:
    """Has `act` called once within the block, after so many callbacks of the event loop: 0 is after the next one."""
    it = Moment(callbacks, act)
    run = asyncio.Handle._run

    def counted(handle: asyncio.Handle) -> None:
        run(handle)
        it.callback_ran()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", counted)
        yield it
