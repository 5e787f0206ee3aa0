"""Line charts as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 38

# Okabe and Ito's colours, which also colour-blind people tell apart; then the same ones dashed.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a800")


@dataclass(frozen=True)
class Line:
    """Points of one line, in the units of the axes."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: int = 0


@dataclass(frozen=True)
class Axis:
    """What an axis shows. With `log`, values below `low` are drawn at `low`."""

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value is, from 0 to 1."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Round values from end to end."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1) if self.low <= 10.0**power <= self.high * 1.0001]
        step = nice((self.high - self.low) / 4)
        return [self.low + step * index for index in range(int((self.high - self.low) / step * 1.0001) + 1)]


def nice(value: float) -> float:
    """The next of 1, 2, 5, 10, ... from a value on."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value * 0.9999)


def linear(label: str, values: Sequence[float]) -> Axis:
    """An axis from 0 to a round number that all values are below."""
    high = max(values, default=0.0)
    if high <= 0:
        return Axis(label, 0.0, 1.0)
    step = nice(high / 4)
    return Axis(label, 0.0, step * math.ceil(high / step * 0.9999))


def logarithmic(label: str, values: Sequence[float]) -> Axis:
    """An axis over powers of ten that has all values above 0."""
    found = [value for value in values if value > 0]
    if not found:
        return Axis(label, 1.0, 10.0, log=True)
    low, high = 10.0 ** math.floor(math.log10(min(found))), 10.0 ** math.ceil(math.log10(max(found)))
    return Axis(label, low, high if high > low else low * 10, log=True)


def chart(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """One chart as an `<svg>`."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(value: float) -> float:
        return LEFT + width * x.place(value)

    def down(value: float) -> float:
        return TOP + height * (1 - y.place(value))

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{LEFT}" y="15" class="title">{escape(title)}</text>',
    ]
    for tick in y.ticks():
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{LEFT + width}" y1="{down(tick):.1f}" y2="{down(tick):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 5}" y="{down(tick) + 3:.1f}" text-anchor="end">{shown(tick)}</text>'
        )
    for tick in x.ticks():
        at = across(tick)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{TOP + height}"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{TOP + height + 13}" text-anchor="middle">{shown(tick)}</text>'
        )
    parts.append(
        f'<text class="tick" x="{LEFT + width / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>'
    )
    for line in lines:
        points = " ".join(f"{across(a):.1f},{down(b):.1f}" for a, b in zip(line.xs, line.ys, strict=True))
        parts.append(f'<polyline {stroke(line.style)} points="{points}"><title>{escape(line.label)}</title></polyline>')
    parts.append("</svg>")
    return "".join(parts)


def stroke(style: int) -> str:
    """Colour and dashes of a line."""
    dashes = ("", ' stroke-dasharray="5 3"', ' stroke-dasharray="1 3"')[style // len(COLOURS) % 3]
    return f'stroke="{COLOURS[style % len(COLOURS)]}"{dashes}'


def shown(value: float) -> str:
    """A tick, short."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (limit if unit != 'k' else 1e3):g}{unit}"
    return f"{value:.4g}"
