"""Measures the steps of a grid."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from lightllm_rs.profile.grid import Grid
from lightllm_rs.profile.steps import Steps

WARM = 2
"""Steps before the clock starts."""

FEWEST, MOST = 3, 24
"""Steps that are timed at one point; between the two, as many as `seconds_a_point` allows."""


@dataclass(frozen=True)
class Measured:
    """One kind of step.

    Attributes:
        prefill: prompt tokens.
        rows: decode rows.
        context: tokens that each decode row attends to; without rows it does not count.
        seconds: of one step, the next one being launched before it ends, as a server does it.
    """

    prefill: int
    rows: int
    context: int
    seconds: float


def measure(
    steps: Steps, grid: Grid, step_tokens: int, seconds_a_point: float, progress: Callable[[int, int], None]
) -> list[Measured]:
    """Times every point of the grid that the KV cache has room for.

    Args:
        step_tokens: most tokens of one step.
        seconds_a_point: after so long no further step is timed at a point.
        progress: is told how many points are done, and of how many.
    """
    points = [
        (prefill, rows, context)
        for rows in grid.rows
        for context in (grid.context if rows else grid.context[:1])
        for prefill in grid.prefill
        if 0 < prefill + rows <= step_tokens and steps.fits(prefill, rows, context, WARM + MOST)
    ]
    measured = []
    for done, (prefill, rows, context) in enumerate(points):
        steps.hold(rows, context, WARM + MOST)
        measured.append(Measured(prefill, rows, context, _time(steps, prefill, 0, seconds_a_point)))
        progress(done + 1, len(points))
    return measured


def prefill_context_seconds(steps: Steps, step_tokens: int, seconds_a_point: float) -> float:
    """Seconds of each pair of a prefill token and a position before its row.

    A chunk at the end of the longest context that there is room for, against one at its beginning. 0 where the context
    is too short for chunks.
    """
    chunk = min(step_tokens, steps.longest // 4)
    start = steps.longest - chunk
    if chunk < 1:
        return 0.0
    steps.hold(0, 1, 0)
    early, late = (_time(steps, chunk, at, seconds_a_point) for at in (0, start))
    return max(0.0, late - early) / (chunk * start)


def idle_seconds(steps: Steps, step_tokens: int, seconds_a_point: float) -> float:
    """Seconds that a step takes more if none is under way when it comes, as no other hides what the host does for it.

    The mean over a decode step of one row and a short prompt, which is what an idle server gets; never below 0.
    """
    room = 2 * (WARM + MOST)
    context = max(1, min(steps.longest // 4, steps.longest - room))
    short = min(128, step_tokens, steps.longest)
    more = []
    for rows, prefill in ((1, 0), (0, short)):
        if not steps.fits(prefill, rows, context, room):
            continue
        steps.hold(rows, context, room)
        hidden = _time(steps, prefill, 0, seconds_a_point)
        more.append(_alone(steps, prefill, seconds_a_point) - hidden)
    return max(0.0, statistics.fmean(more)) if more else 0.0


def _alone(steps: Steps, prefill: int, budget: float) -> float:
    """Seconds of one step, the next one coming when it has ended; the median."""
    found: list[float] = []
    while len(found) < FEWEST or (len(found) < MOST and sum(found) < budget):
        began = time.perf_counter()
        steps.launch(prefill).outcome()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def _time(steps: Steps, prefill: int, start: int, budget: float) -> float:
    """Seconds of one step, two of them being under way at a time."""
    for _ in range(WARM):
        steps.launch(prefill, start).outcome()
    began = time.perf_counter()
    under_way, count = steps.launch(prefill, start), 1
    while count < FEWEST or (count < MOST and time.perf_counter() - began < budget):
        following = steps.launch(prefill, start)
        under_way.outcome()
        under_way = following
        count += 1
    under_way.outcome()
    return (time.perf_counter() - began) / count
