"""Phases of a start, as they are told."""

from __future__ import annotations

import sys


def say_phase(name: str, seconds: float, detail: str) -> None:
    """One line on standard error."""
    print(f"{name:>12} {seconds:6.2f} s  {detail}".rstrip(), file=sys.stderr)
