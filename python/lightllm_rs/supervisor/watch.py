"""Which visual servers hang: they say nothing, or hold images and do nothing for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightllm_rs.messages.control import Beat
from lightllm_rs.settings import ServeSettings

LOOK_SECONDS = 1.0
LONGEST_STEP = 2.0
"""Counted between two looks at most: if the supervisor itself stood still, so did perhaps all others."""

SHORTEST_LIMIT = 10.0


@dataclass
class _Pulse:
    silent: float = 0.0  # seconds since its last beat
    stuck: float = 0.0  # seconds in which it had images and made no progress
    busy: bool = False
    progress: int = -1


class Watch:
    """Fed with beats, asked about once a second. Times are those of any one clock that never goes back.

    Args:
        limit: seconds without a beat, or with images and no progress, after which one hangs.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._pulses: dict[str, _Pulse] = {}
        self._looked = 0.0

    def begin(self, process: str) -> None:
        """It is ready, and beats from now on."""
        self._pulses[process] = _Pulse()

    def forget(self, process: str) -> None:
        """It has ended, or will soon."""
        self._pulses.pop(process, None)

    def beat(self, process: str, beat: Beat) -> None:
        """It lives."""
        pulse = self._pulses.get(process)
        if pulse is None:
            return
        pulse.silent = 0.0
        if not (beat.busy and pulse.busy) or beat.progress != pulse.progress:
            pulse.stuck = 0.0
        pulse.busy, pulse.progress = beat.busy, beat.progress

    def due(self) -> float:
        """When to look next; infinite while there is nobody to look after."""
        return self._looked + LOOK_SECONDS if self._pulses else math.inf

    def hanging(self, now: float) -> list[tuple[str, str]]:
        """Those that hang, and why one thinks so."""
        seconds, self._looked = min(now - self._looked, LONGEST_STEP), now
        found = []
        for process, pulse in self._pulses.items():
            pulse.silent += seconds
            pulse.stuck += seconds if pulse.busy else 0.0
            if pulse.silent >= self._limit:
                found.append((process, f"has said nothing for {pulse.silent:.0f} s"))
            elif pulse.stuck >= self._limit:
                found.append((process, f"has made no progress with its images for {pulse.stuck:.0f} s"))
        return found


def limit_of(settings: ServeSettings) -> float:
    """`--visual-stall-seconds`, or where that is open half of the time that requests have."""
    return settings.visual_stall_seconds or max(SHORTEST_LIMIT, settings.image_wait_timeout / 2)
