"""A page with plots: one HTML file that needs nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lightllm_rs.simulate.plots import Axis, Line, chart, linear, logarithmic, stroke
from lightllm_rs.simulate.reports import Report
from lightllm_rs.simulate.table import rows_of

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --text: #222; --back: #fff }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --back: #16181b } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2em auto;
  max-width: 1500px; padding: 0 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin-top: 2em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } .wide { overflow-x: auto }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left }
.charts { display: flex; flex-wrap: wrap; gap: 1em } .charts svg { flex: 1 1 380px; max-width: 560px }
.cells { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(330px, 560px); gap: 1em; overflow-x: auto }
.cells h3 { font-size: 1em; margin: .3em 0 }
svg text { fill: var(--text); font-size: 11px } svg .title { font-size: 12px; font-weight: 600 }
svg .grid { stroke: var(--line); stroke-width: 1 } svg polyline { fill: none; stroke-width: 1.6 }
.legend { display: flex; flex-wrap: wrap; gap: .3em 1.4em; margin: .6em 0 } .legend svg { width: 26px; height: 8px }
pre { white-space: pre-wrap; font-size: 12px }
"""

_TIMES = (
    ("ttft_ms", "Time to the first token"),
    ("itl_ms", "Time between tokens"),
    ("e2e_ms", "Time to the last token"),
    ("queue_ms", "Time in the queue"),
)


def page(reports: Sequence[Report], setups: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page of a sweep: figures, distributions, and each cell over time, side by side.

    Args:
        setups: of the reports, in the same order, to be shown at the end.
    """
    title = "Simulation: " + (reports[0]["name"] if len(reports) == 1 else f"{len(reports)} cells")
    sections = [
        f"<h1>{escape(title)}</h1>",
        "<h2>Figures</h2>",
        _figures(reports),
        "<h2>Distributions</h2>",
        _legend(reports),
        f'<div class="charts">{"".join(_distribution(reports, key, name) for key, name in _TIMES)}</div>',
        "<h2>Over time</h2>",
        f'<div class="cells">{"".join(_over_time(reports))}</div>',
    ]
    if setups:
        sections.append("<h2>Setups</h2>")
        sections.extend(_setup(report["name"], setup) for report, setup in zip(reports, setups, strict=True))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _figures(reports: Sequence[Report]) -> str:
    head, *lines = rows_of(reports)
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _legend(reports: Sequence[Report]) -> str:
    items = []
    for style, report in enumerate(reports):
        sample = f'<svg viewBox="0 0 26 8"><polyline {stroke(style)} points="0,4 26,4"/></svg>'
        items.append(f"<span>{sample} {escape(report['name'])}</span>")
    return f'<div class="legend">{"".join(items)}</div>'


def _distribution(reports: Sequence[Report], key: str, name: str) -> str:
    lines = []
    for style, report in enumerate(reports):
        cdf: Mapping[str, list[float]] = report["cdf"]  # type: ignore[assignment]
        times = cdf[key]
        lines.append(Line(report["name"], times, [100 * part for part in cdf["part"][: len(times)]], style))
    times_of_all = [time for line in lines for time in line.xs]
    return chart(name, lines, logarithmic("ms", times_of_all), Axis("%", 0.0, 100.0))


def _over_time(reports: Sequence[Report]) -> list[str]:
    """One column a cell, all with the same scales."""
    lines = [report["timeline"] for report in reports]
    x = linear("seconds", [second for line in lines for second in line["seconds"]])
    requests = {
        key: linear("requests", [value for line in lines for value in line[key]]) for key in ("running", "queued")
    }
    share = Axis("%", 0.0, 100.0)
    columns = []
    for report, line in zip(reports, lines, strict=True):
        seconds = line["seconds"]
        kv = [
            Line("held by running requests", seconds, [100 * part for part in line["kv"]], 0),
            Line("in the prefix cache, held or not", seconds, [100 * part for part in line["kv_cached"]], 2),
        ]
        charts = [
            chart("Running", [Line("running", seconds, line["running"], 0)], x, requests["running"]),
            chart("Queued", [Line("queued", seconds, line["queued"], 1)], x, requests["queued"]),
            chart("KV cache: held (blue), cached (green), %", kv, x, share),
        ]
        columns.append(f"<div><h3>{escape(report['name'])}</h3>{''.join(charts)}</div>")
    return columns


def _setup(name: str, setup: Mapping[str, Any]) -> str:
    text = json.dumps(setup, indent=2)
    return f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
