"""Journals of the router (`serve --journal FILE`), run through the scheduler again: does it decide the same?"""

from __future__ import annotations

from lightllm_rs._core import Difference, InputError, ReplayReport
from lightllm_rs._core import replay_journal as replay

__all__ = ["Difference", "InputError", "ReplayReport", "replay"]
