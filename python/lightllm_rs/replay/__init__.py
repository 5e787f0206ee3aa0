"""Journals of the router (`serve --journal FILE`), run through the scheduler again: does it decide the same?"""

from __future__ import annotations

from lightllm_rs._core import Difference, InputError, ReplayReport
from lightllm_rs._core import replay_journal as replay
from lightllm_rs.replay.figures import Figures, Summary, summary

__all__ = ["Difference", "Figures", "InputError", "ReplayReport", "Summary", "replay", "summary"]
