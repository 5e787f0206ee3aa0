"""One SVG file of a run or a sweep. It is written by ourselves: the charts of `simulate` are there already, and a plot
library would be the largest dependency of a client that needs none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lightllm_rs.bench.figures import METRICS, values_of
from lightllm_rs.bench.outcome import Outcome
from lightllm_rs.bench.report import NAMES
from lightllm_rs.simulate.plots import HEIGHT, WIDTH, Axis, Line, chart, linear, logarithmic, stroke

_STYLE = (
    "text { fill: #222; font: 11px system-ui, sans-serif } .title { font-size: 12px; font-weight: 600 } "
    ".grid { stroke: #8884; stroke-width: 1 } polyline { fill: none; stroke-width: 1.6 }"
)
_COLUMNS, _MARGIN, _LEGEND = 2, 12, 24
_POINTS = 200


def sweep_plot(title: str, results: Sequence[Mapping[str, Any]], swept: str, percentiles: Sequence[float]) -> str:
    """Throughput and latencies over what was swept."""
    xs = [float(result[swept]) for result in results]
    x = linear(swept.replace("_", " "), xs)
    throughput = [float(result["output_throughput"]) for result in results]
    charts = [chart("Output tokens a second", [Line("output tok/s", xs, throughput)], x, linear("tok/s", throughput))]
    kinds = ["mean", "median", *(f"p{percentile:g}" for percentile in percentiles)]
    for metric in METRICS:
        lines = [
            Line(kind, xs, [float(result[f"{kind}_{metric}_ms"]) for result in results], style)
            for style, kind in enumerate(kinds)
        ]
        charts.append(chart(f"{NAMES[metric]} (ms)", lines, x, linear("ms", [y for line in lines for y in line.ys])))
    return _page(title, charts, kinds)


def distribution_plot(title: str, outcomes: Sequence[Outcome]) -> str:
    """For each latency which part of the values is below."""
    good = [outcome for outcome in outcomes if not outcome.error]
    charts = []
    for metric in METRICS:
        values = sorted(values_of(metric, good)) or [0.0]
        picked = [values[(len(values) - 1) * index // (_POINTS - 1)] for index in range(_POINTS)]
        below = [100 * index / (_POINTS - 1) for index in range(_POINTS)]
        line = Line(metric, picked, below)
        charts.append(chart(f"{NAMES[metric]}: % below ms", [line], logarithmic("ms", picked), Axis("%", 0.0, 100.0)))
    return _page(title, charts, [])


def _page(title: str, charts: Sequence[str], legend: Sequence[str]) -> str:
    rows = -(-len(charts) // _COLUMNS)
    width = _COLUMNS * (WIDTH + _MARGIN) + _MARGIN
    top = _MARGIN + 2 * _LEGEND
    height = top + rows * (HEIGHT + _MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="{_LEGEND}" class="title">{escape(title)}</text>',
    ]
    for style, label in enumerate(legend):
        x = _MARGIN + 90 * style
        parts.append(f'<polyline {stroke(style)} points="{x},{2 * _LEGEND - 4} {x + 22},{2 * _LEGEND - 4}"/>')
        parts.append(f'<text x="{x + 28}" y="{2 * _LEGEND}">{escape(label)}</text>')
    for index, one in enumerate(charts):
        x, y = _MARGIN + index % _COLUMNS * (WIDTH + _MARGIN), top + index // _COLUMNS * (HEIGHT + _MARGIN)
        placed = f'<svg x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" '
        parts.append(placed + one.removeprefix("<svg "))
    return "\n".join([*parts, "</svg>", ""])
