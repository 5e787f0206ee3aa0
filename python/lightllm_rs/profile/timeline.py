"""What a device did in a Chrome trace: when it was busy, and with what."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightllm_rs.profile.kernel_groups import group_of

DEVICE_WORK = ("kernel", "gpu_memcpy", "gpu_memset")
OPERATORS = "cpu_op"


class TraceError(Exception):
    """A file that holds no trace of a device's work; the message names it."""


@dataclass(frozen=True)
class Work:
    """One kernel or copy, or on a CPU one operator. Times in microseconds."""

    name: str
    start: float
    duration: float

    @property
    def end(self) -> float:
        return self.start + self.duration


@dataclass(frozen=True)
class Share:
    """All work of one name or group.

    Attributes:
        count: how often.
        total_us: sum of the times; overlapping work counts twice.
    """

    name: str
    count: int
    total_us: float


@dataclass(frozen=True)
class Timeline:
    """A device from its first work to the end of its last. Times in microseconds.

    Attributes:
        busy_us: length of the union of all work.
        gaps_us: times without work, in order.
    """

    work: tuple[Work, ...]
    wall_us: float
    busy_us: float
    gaps_us: tuple[float, ...]

    @property
    def busy(self) -> float:
        """Part of the wall time in which the device works, 0 to 1."""
        return self.busy_us / self.wall_us if self.wall_us else 0.0

    def groups(self) -> list[Share]:
        """Shares by kind of kernel, the largest first."""
        return _shares((group_of(work.name), work.duration) for work in self.work)

    def names(self) -> list[Share]:
        """Shares by name, the largest first."""
        return _shares((work.name, work.duration) for work in self.work)


def timeline(work: Sequence[Work]) -> Timeline:
    """Puts work in order and adds it up. Raises ValueError if there is none."""
    if not work:
        raise ValueError("no work")
    ordered = sorted(work, key=lambda one: one.start)
    busy, gaps, end = 0.0, [], ordered[0].start
    for one in ordered:
        if one.start > end:
            gaps.append(one.start - end)
        busy += max(0.0, one.end - max(one.start, end))
        end = max(end, one.end)
    return Timeline(tuple(ordered), end - ordered[0].start, busy, tuple(gaps))


def read_timeline(path: Path) -> Timeline:
    """The device's work of a trace that torch's profiler wrote, of all streams; on a CPU the outermost operators.

    Raises TraceError.
    """
    events = _events(path)
    work = _of_category(events, DEVICE_WORK)
    if not work:
        work = _outermost(events)
    if not work:
        raise TraceError(f"{path}: no kernel and no operator is in this trace: was there any work in the steps?")
    return timeline(work)


def _events(path: Path) -> list[dict[str, Any]]:
    try:
        raw = path.read_bytes()
        document = json.loads(gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw)
        events = document["traceEvents"] if isinstance(document, dict) else document
        return [event for event in events if event.get("ph") == "X"]
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TraceError(f"{path}: this is no Chrome trace ({error})") from None


def _of_category(events: Iterable[dict[str, Any]], categories: tuple[str, ...]) -> list[Work]:
    return [
        Work(str(event["name"]), float(event["ts"]), float(event["dur"]))
        for event in events
        if event.get("cat") in categories
    ]


def _outermost(events: Iterable[dict[str, Any]]) -> list[Work]:
    """Operators that no other operator of their thread contains."""
    threads: dict[Any, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == OPERATORS:
            threads.setdefault(event.get("tid"), []).append(event)
    found = []
    for operators in threads.values():
        end = float("-inf")
        for work in sorted(_of_category(operators, (OPERATORS,)), key=lambda one: (one.start, -one.duration)):
            if work.start >= end:
                found.append(work)
                end = work.end
    return found


def _shares(parts: Iterable[tuple[str, float]]) -> list[Share]:
    counts: dict[str, int] = {}
    totals: dict[str, float] = {}
    for name, microseconds in parts:
        counts[name] = counts.get(name, 0) + 1
        totals[name] = totals.get(name, 0.0) + microseconds
    return sorted((Share(name, counts[name], total) for name, total in totals.items()), key=lambda one: -one.total_us)
