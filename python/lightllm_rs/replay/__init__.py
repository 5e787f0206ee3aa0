"""Journals of the router (`serve --journal FILE`), run through the scheduler again: does it decide the same?"""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

from lightllm_rs._core import Difference, InputError, ReplayReport, summarize_journal
from lightllm_rs._core import replay_journal as replay

__all__ = ["Difference", "InputError", "ReplayReport", "replay", "summary"]


def summary(path: str | PathLike[str]) -> dict[str, Any]:
    """What a journal says of the service, as the router saw it.

    Returns:
        Counts (`requests`, `finished`, `aborted`, `failed`, `refused`, `unfinished`), tokens (`prompt_tokens`,
        `cached_tokens`, `output_tokens`), `seconds`, and `queue`, `ttft`, `itl` and `e2e`, in seconds, each with
        `count`, `mean`, `p50`, `p90`, `p99` and `max`.

    Raises:
        InputError: it can't be read, or a line is no record.
    """
    found: dict[str, Any] = json.loads(summarize_journal(path))
    return found
