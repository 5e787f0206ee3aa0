"""Cores and memory of this machine that the process may use."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


_PR_SET_TIMERSLACK = 29


def sleep_exactly() -> None:
    """Has the kernel end this thread's naps on time, and not up to 50 us later to save power."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


def available_memory() -> int:
    """Bytes that can still be allocated: of the machine, or of the control group where it allows less."""
    left = [_machine()]
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        left.append(max(0, limit - used))
    return min(left)


def _machine() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    raise OSError("/proc/meminfo does not say how much memory is available")


def _number(path: Path) -> int | None:
    """The number in a file; None where the file is missing or says "max"."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
