"""Sends requests at their times, from one process or from several."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.outcome import Outcome, Prompt
from lightllm_rs.bench.stream import Connections
from lightllm_rs.bench.target import Target

LEAD_SECONDS = 0.5
"""Client processes begin together, so long after the last of them is ready."""

TELL_SECONDS = 0.25
"""How often a client process says how far it is."""

END_SECONDS = 1.0
"""A client process that has said its last ends within this time, or is killed."""

_READY = "ready"


@dataclass(frozen=True)
class Load:
    """What one client process does.

    Attributes:
        at: seconds from the begin at which each prompt is sent; the same number as `prompts`.
        concurrency: most requests at once; 0: no limit. One that is due waits for another to end.
        timeout: seconds that a request may take.
    """

    target: Target
    prompts: Sequence[Prompt]
    at: Sequence[float]
    concurrency: int
    timeout: float


def arrivals(count: int, rate: float, burstiness: float, seed: int) -> list[float]:
    """When requests are sent, in seconds from the begin.

    Args:
        rate: requests a second; infinity sends all at once.
        burstiness: shape of the gamma distribution of the times between them: 1 is a Poisson process, less comes in
            bursts, more is more regular.
    """
    if rate == float("inf"):
        return [0.0] * count
    gaps = np.random.default_rng(seed).gamma(burstiness, 1.0 / (rate * burstiness), count)
    gaps[:1] = 0.0
    return [float(second) for second in np.cumsum(gaps)]


def run_load(
    load: Load, processes: int = 1, progress: Callable[[int], object] = lambda done: None
) -> tuple[list[Outcome], float]:
    """Carries out a load. Returns the outcomes in the order of the prompts, and the seconds from begin to last end.

    Args:
        processes: client processes to share the prompts in turn, and the concurrency.
        progress: is told now and then how many requests have ended since it was told last.

    Raises BenchError if a client process dies.
    """
    processes = max(1, min(processes, len(load.prompts), load.concurrency or len(load.prompts)))
    if processes == 1:
        began = time.perf_counter()
        outcomes = _loop(_drive(load, began, progress))
        return outcomes, time.perf_counter() - began
    return _run_apart(load, processes, progress)


def _part(load: Load, index: int, processes: int) -> Load:
    """The share of one of several processes."""
    most = (load.concurrency - index + processes - 1) // processes if load.concurrency else 0
    return Load(load.target, load.prompts[index::processes], load.at[index::processes], most, load.timeout)


def _run_apart(load: Load, processes: int, progress: Callable[[int], object]) -> tuple[list[Outcome], float]:
    context = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    try:
        for index in range(processes):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs, _part(load, index, processes)), daemon=True)
            worker.start()
            theirs.close()
            pipes.append(ours)
            workers.append(worker)
        for pipe in pipes:
            assert _received(pipe) == _READY
        began = time.perf_counter() + LEAD_SECONDS
        for pipe in pipes:
            pipe.send(began)
        outcomes: list[Outcome | None] = [None] * len(load.prompts)
        ended, running = began, list(pipes)
        while running:
            readable = wait(running)
            for pipe in [one for one in running if one in readable]:
                message = _received(pipe)
                if isinstance(message, int):
                    progress(message)
                    continue
                found, last = message
                outcomes[pipes.index(pipe) :: processes] = found
                ended = max(ended, last)
                running.remove(pipe)
    finally:
        for pipe in pipes:
            pipe.close()
        for worker in workers:
            worker.join(END_SECONDS)
            if worker.is_alive():
                worker.kill()
    return [outcome for outcome in outcomes if outcome is not None], ended - began


def _received(pipe: Pipe[Any, Any]) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        raise BenchError("a client process died: what it wrote before says why") from None


def _work(pipe: Pipe[Any, Any], load: Load) -> None:
    """A client process. Ctrl-C is for its parent, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe.send(_READY)
    began = pipe.recv()
    outcomes = _loop(_drive(load, began, pipe.send))
    pipe.send((outcomes, time.perf_counter()))


def _loop(work: Any) -> list[Outcome]:
    """Runs a coroutine on uvloop, the server's own event loop, where it is there."""
    try:
        import uvloop
    except ImportError:
        return list(asyncio.run(work))
    return list(uvloop.run(work))


async def _drive(load: Load, began: float, progress: Callable[[int], object]) -> list[Outcome]:
    connections = Connections(load.target, load.timeout)
    room = asyncio.Semaphore(load.concurrency or len(load.prompts))
    ended = 0

    async def one(prompt: Prompt) -> Outcome:
        nonlocal ended
        try:
            return await connections.ask(prompt)
        finally:
            room.release()
            ended += 1

    async def tell() -> None:
        nonlocal ended
        while True:
            await asyncio.sleep(TELL_SECONDS)
            told, ended = ended, 0
            progress(told)

    telling = asyncio.create_task(tell())
    tasks = []
    for prompt, due in zip(load.prompts, load.at, strict=True):
        late = began + due - time.perf_counter()
        if late > 0:
            await asyncio.sleep(late)
        await room.acquire()
        tasks.append(asyncio.create_task(one(prompt)))
    outcomes = await asyncio.gather(*tasks)
    telling.cancel()
    progress(ended)
    connections.close()
    return outcomes
