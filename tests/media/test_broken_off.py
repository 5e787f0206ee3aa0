"""A fetch that is cancelled between any two callbacks of the event loop, once or twice: nothing is left of it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from helpers.bad_host import answer, bad_host, redirect
from helpers.moments import moment
from lightllm_rs.media import Fetcher, Limits

PATIENT = Limits(fetch_seconds=60.0, image_bytes=1 << 20)
URL = "http://pictures.example"


@pytest.mark.parametrize("again", [0, 1, 2, 3, 5])
def test_a_fetch_that_is_cancelled_leaves_nothing(again: int) -> None:
    """`again`: callbacks after which it is cancelled once more; 0 for never."""

    async def run() -> int:
        async with bad_host() as host:
            host.pages["/"] = redirect("/there")
            host.pages["/there"] = answer(bytes(100_000))
            fetcher = Fetcher(PATIENT, host.network)
            counted = 0

            def count(size: int) -> None:
                nonlocal counted
                counted += size

            callbacks = 0
            while True:
                task = asyncio.create_task(fetcher.fetch(URL, count))
                with ExitStack() as moments:
                    cancel = moments.enter_context(moment(callbacks, task.cancel))
                    if again:
                        moments.enter_context(moment(callbacks + again, task.cancel))
                    await asyncio.wait([task])
                if not cancel.come:
                    assert len(task.result()) == 100_000
                    return callbacks
                assert task.cancelled() or len(task.result()) == 100_000
                known = counted
                await host.settled()  # a connection may be made after the end of its fetch
                await host.until(0)
                assert (fetcher._here, fetcher._slots._value) == (0, PATIENT.fetches)
                assert counted == known, "nothing comes in any more"
                callbacks += 1

    assert asyncio.run(asyncio.wait_for(run(), 120)) > 30, "there were such moments"
