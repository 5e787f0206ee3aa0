"""How far a run is, for people at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Is told how many more are done."""

    def __call__(self, done: int, /) -> object: ...


@contextmanager
def bar(total: int, what: str, disable: bool) -> Iterator[Progress]:
    """A bar of tqdm on standard error, if that is a terminal."""
    if disable or not sys.stderr.isatty():
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=what) as shown:
        yield shown.update
