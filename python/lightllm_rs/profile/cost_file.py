"""The simulator's cost model as JSON. The format is described in `rust/simulator/src/cost/table.rs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightllm_rs.profile.grid import Grid
from lightllm_rs.profile.measure import Measured

VERSION = 1


def cost_table(
    grid: Grid, measured: Sequence[Measured], prefill_context_ms: float, idle_ms: float, source: Mapping[str, Any]
) -> dict[str, Any]:
    """A table over the grid's axes; a point that was not measured is null, and the simulator fills it in.

    Args:
        prefill_context_ms: milliseconds of each pair of a prefill token and a position before its row.
        idle_ms: milliseconds that a step takes more if none is under way when it comes.
        source: where the figures are from; kept in the file, and read by people only.
    """
    ms: list[list[list[float | None]]] = [[[None for _ in grid.context] for _ in grid.rows] for _ in grid.prefill]
    for point in measured:
        of_rows = ms[grid.prefill.index(point.prefill)][grid.rows.index(point.rows)]
        of_rows[grid.context.index(point.context)] = round(point.seconds * 1e3, 4)
    return {
        "version": VERSION,
        "kind": "table",
        "source": dict(source),
        "prefill_tokens": list(grid.prefill),
        "decode_rows": list(grid.rows),
        "context": list(grid.context),
        "ms": ms,
        "prefill_context_ms": prefill_context_ms,
        "idle_ms": round(idle_ms, 4),
    }
