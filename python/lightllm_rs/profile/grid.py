"""Which steps are measured."""

from __future__ import annotations

from dataclasses import dataclass

from lightllm_rs.backend.options import Capacity

PREFILL = (0, 16, 64, 256, 512, 1016, 2040, 4096, 8192, 16384)
"""1,016 and 2,040 tokens have room in captured steps of 1,024 and 2,048 rows, beside eight that decode: what the
scheduler fills while prompts wait."""

ROWS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTEXT = (64, 1024, 4096, 16384)


@dataclass(frozen=True)
class Grid:
    """Axes of a table of steps.

    Attributes:
        prefill: prompt tokens of the step, ascending from 0.
        rows: decode rows, ascending from 0.
        context: tokens that each decode row attends to, ascending.
    """

    prefill: tuple[int, ...]
    rows: tuple[int, ...]
    context: tuple[int, ...]


def grid_of(capacity: Capacity, step_tokens: int) -> Grid:
    """The axes that a backend has room for, its largest step included."""
    longest = min(step_tokens, capacity.context, capacity.pages * capacity.page_size // 2)
    most = min(capacity.slots - 1, step_tokens)  # one slot prefills beside them
    # A row's context leaves room for the steps that are measured.
    deepest = min(capacity.context, capacity.pages * capacity.page_size) // 2
    return Grid(_up_to(PREFILL, longest), _up_to(ROWS, most), _up_to(CONTEXT, deepest))


def _up_to(axis: tuple[int, ...], largest: int) -> tuple[int, ...]:
    """The values of an axis below the largest one, and that one."""
    return (*(value for value in axis if value < largest), largest)
