"""Figures as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {
    "ttft": "Time to First Token",
    "tpot": "Time per Output Token (excl. 1st token)",
    "itl": "Inter-token Latency",
    "e2el": "End-to-end Latency",
}
WIDTH = 50

_HEAD = (
    ("Successful requests", "completed", "d"),
    ("Failed requests", "failed", "d"),
    ("Maximum request concurrency", "max_concurrency", "d"),
    ("Request rate configured (RPS)", "request_rate", ".2f"),
    ("Benchmark duration (s)", "duration", ".2f"),
    ("Total input tokens", "total_input_tokens", "d"),
    ("Total generated tokens", "total_output_tokens", "d"),
    ("Request throughput (req/s)", "request_throughput", ".2f"),
    ("Request goodput (req/s)", "request_goodput", ".2f"),
    ("Output token throughput (tok/s)", "output_throughput", ".2f"),
    ("Total token throughput (tok/s)", "total_token_throughput", ".2f"),
)


def report(result: Mapping[str, Any], metrics: Sequence[str], title: str = "Serving Benchmark Result") -> str:
    """One run, a line a figure; what was not set or not measured has no line.

    Args:
        metrics: whose spreads are shown.
    """
    lines = [f" {title} ".center(WIDTH, "=")]
    for label, key, form in _HEAD:
        value = result.get(key)
        if value is not None:
            lines.append(_line(label, format(value, form)))
    for metric in metrics:
        keys = [key for key in result if key.endswith(f"_{metric}_ms")]
        if keys:
            lines.append(NAMES[metric].center(WIDTH, "-"))
            lines += [_line(_label(key, metric), f"{result[key]:.2f}") for key in keys]
    return "\n".join([*lines, "=" * WIDTH])


def sweep_table(results: Sequence[Mapping[str, Any]], swept: str, percentiles: Sequence[float]) -> str:
    """One line a run.

    Args:
        swept: key of what differs between the runs.
        percentiles: the highest of them is shown beside the means.
    """
    tail = f"p{max(percentiles):g}"
    columns = [
        (swept.replace("_", " "), swept, "g"),
        ("req/s", "request_throughput", ".2f"),
        ("output tok/s", "output_throughput", ",.0f"),
        ("total tok/s", "total_token_throughput", ",.0f"),
        ("TTFT mean", "mean_ttft_ms", ".1f"),
        (f"TTFT {tail}", f"{tail}_ttft_ms", ".1f"),
        ("TPOT mean", "mean_tpot_ms", ".2f"),
        ("ITL mean", "mean_itl_ms", ".2f"),
        (f"ITL {tail}", f"{tail}_itl_ms", ".2f"),
        ("failed", "failed", "d"),
    ]
    if any(result["request_goodput"] is not None for result in results):
        columns.insert(2, ("goodput", "request_goodput", ".2f"))
    cells = [[name for name, _, _ in columns]]
    # What has no value is a rate: all at once.
    cells += [
        ["inf" if result[key] is None else format(result[key], form) for _, key, form in columns] for result in results
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _label(key: str, metric: str) -> str:
    kind = key.removesuffix(f"_{metric}_ms")
    return f"{'Std dev' if kind == 'std' else kind.capitalize()} {metric.upper()} (ms)"


def _line(label: str, value: str) -> str:
    return f"{label + ':':<{WIDTH - 12}}{value:>12}"
