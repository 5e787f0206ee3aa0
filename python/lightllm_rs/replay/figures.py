"""A whole journal in a few figures."""

from __future__ import annotations

import json
from os import PathLike
from typing import TypedDict

from lightllm_rs import _core


class Figures(TypedDict):
    """A distribution, in seconds. All are 0 if there is no value."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class Summary(TypedDict):
    """What a journal says of the service, as the router saw it.

    Attributes:
        requests: siblings and refused ones included.
        finished, aborted, failed, refused, unfinished: of these.
        prompt_tokens: of those that came to run; `cached_tokens` of them were cached.
        output_tokens: of all outputs.
        seconds: from the first arrival to the last end.
        queue: from arrival to the first plan.
        ttft: from arrival to the first token.
        itl: from one token of a request to its next.
        e2e: from arrival to the end, of those that finished.
        cut: the last line, if it was cut off in the middle.
    """

    requests: int
    finished: int
    aborted: int
    failed: int
    refused: int
    unfinished: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    seconds: float
    queue: Figures
    ttft: Figures
    itl: Figures
    e2e: Figures
    cut: int | None


def summary(path: str | PathLike[str]) -> Summary:
    """Reads a journal to its end. Raises InputError if it can't be read, or a line is no record."""
    found: Summary = json.loads(_core.summarize_journal(path))
    return found
