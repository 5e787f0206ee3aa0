"""What must go without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collector() -> Iterator[None]:
    """Nothing is collected within."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def until_gone(named: weakref.ref[object]) -> None:
    """Returns when nobody has it any more. A thread may not have let go of it yet."""
    deadline = time.monotonic() + 60
    while named() is not None:
        assert time.monotonic() < deadline, "it waits for the garbage collector"
        await asyncio.sleep(0.001)
