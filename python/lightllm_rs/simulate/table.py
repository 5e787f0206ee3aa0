"""Tables for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lightllm_rs.simulate.presets import PresetRow
from lightllm_rs.simulate.reports import Report

_COLUMNS: list[tuple[str, Callable[[Report], str]]] = [
    ("cell", lambda report: report["name"]),
    ("done", lambda report: f"{report['finished']:,}"),
    ("refused", lambda report: f"{report['refused']['total']:,}"),
    ("TTFT", lambda report: _ms(report["ttft_ms"]["mean"])),
    ("p99", lambda report: _ms(report["ttft_ms"]["p99"])),
    ("ITL", lambda report: _ms(report["itl_ms"]["mean"])),
    ("p99", lambda report: _ms(report["itl_ms"]["p99"])),
    ("E2E", lambda report: _ms(report["e2e_ms"]["mean"])),
    ("p99", lambda report: _ms(report["e2e_ms"]["p99"])),
    ("good", lambda report: _percent(report["goodput"]["part"])),
    ("tok/s", lambda report: f"{report['throughput']['output_tokens_per_s']:,.0f}"),
    ("KV", lambda report: _percent(report["utilization"]["kv_mean"])),
    ("budget", lambda report: _percent(report["utilization"]["step_tokens"])),
    ("hits", lambda report: _percent(report["prefix_hit_rate"])),
    ("evicted", lambda report: f"{report['evicted_percent']:.1f} %"),
]

_PRESET_COLUMNS: list[tuple[str, Callable[[PresetRow], str]]] = [
    ("policy", lambda row: row["policy"]),
    ("workload", lambda row: row["workload"]),
    ("seed", lambda row: str(row["seed"])),
    ("decode steps", lambda row: f"{row['decode_steps']:,}"),
    ("KV", lambda row: f"{row['mean_kv_utilization']:.2f} %"),
    ("evictions", lambda row: f"{row['evictions']:,}"),
    ("finished", lambda row: f"{row['finished']:,}"),
    ("evicted", lambda row: f"{row['evicted_percent']:.1f} %"),
    ("seconds", lambda row: f"{row['wall_seconds']:.2f}"),
]


def table(reports: Sequence[Report]) -> str:
    """One line a report: means and 99th percentiles of times, and how much was used."""
    return _aligned(rows_of(reports), left=1)


def rows_of(reports: Sequence[Report]) -> list[list[str]]:
    """The cells of the table, the head first."""
    return [[head for head, _ in _COLUMNS], *([cell(report) for _, cell in _COLUMNS] for report in reports)]


def preset_table(rows: Sequence[PresetRow]) -> str:
    """One line a row."""
    lines = [[cell(row) for _, cell in _PRESET_COLUMNS] for row in rows]
    return _aligned([[head for head, _ in _PRESET_COLUMNS], *lines], left=2)


def _aligned(lines: list[list[str]], left: int) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def row(cells: list[str]) -> str:
        placed = zip(cells, widths, strict=True)
        return "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width) for column, (cell, width) in enumerate(placed)
        ).rstrip()

    return "\n".join([row(lines[0]), "  ".join("-" * width for width in widths), *map(row, lines[1:])])


def _ms(milliseconds: float) -> str:
    """Three digits that matter, in ms or s."""
    if milliseconds >= 10_000:
        return f"{milliseconds / 1000:,.1f} s"
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.1f} ms"


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"
