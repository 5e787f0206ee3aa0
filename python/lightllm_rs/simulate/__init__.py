"""The scheduler under a virtual clock: traces in, latencies out. `docs/simulation.md` walks through it."""

from __future__ import annotations

from lightllm_rs.simulate.cost import cost_model
from lightllm_rs.simulate.engine import Progress, run, sweep
from lightllm_rs.simulate.errors import InputError
from lightllm_rs.simulate.page import page
from lightllm_rs.simulate.presets import PresetRow, past_future_paper
from lightllm_rs.simulate.reports import Report, Setup
from lightllm_rs.simulate.table import table

__all__ = [
    "InputError",
    "PresetRow",
    "Progress",
    "Report",
    "Setup",
    "cost_model",
    "page",
    "past_future_paper",
    "run",
    "sweep",
    "table",
]
