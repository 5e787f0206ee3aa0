"""Simulations of the scheduler under a virtual clock."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightllm_rs import _core
from lightllm_rs.simulate.errors import input_error
from lightllm_rs.simulate.files import check_files
from lightllm_rs.simulate.reports import Report

Progress = Callable[[int, float, int, float], object]
"""Called now and then with the index of a setup, the part of its workload that has arrived (0 to 1), the requests
that have arrived, and the seconds on its clock. An exception stops the simulation."""


def run(setup: Mapping[str, Any], *, progress: Progress | None = None) -> Report:
    """Simulates one setup. The same setup gives the same report, on every machine.

    Raises:
        InputError: a setting can't be used, or a file; the message names it and says what is allowed.
    """
    [report] = sweep([setup], jobs=1, progress=progress)
    return report


def sweep(
    setups: Sequence[Mapping[str, Any]], *, jobs: int | None = None, progress: Progress | None = None
) -> list[Report]:
    """Simulates setups, several at once, without the GIL. Reports come in the order of the setups.

    Args:
        jobs: threads; None: as many as there are cores.

    Raises:
        InputError: as `run` does; the first of them.
    """
    given = list(setups)
    for setup in given:
        _check_finite(setup, "")
    check_files(given)
    text = json.dumps(given, allow_nan=False)
    reports: list[Report] = json.loads(_core.simulate(text, jobs=jobs or 0, progress=progress))
    return reports


def _check_finite(value: Any, name: str) -> None:
    """Raises InputError that names a number without an end: JSON, in which setups are handed on, has none."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_finite(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _check_finite(inner, f"{name}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise input_error(f"{name}: is {value}: give a finite number", parameter=name)
