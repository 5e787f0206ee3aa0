"""What a process tells the health and the metric server about itself."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from lightllm_rs.messages.frames import encode
from lightllm_rs.messages.sockets import Dealer, endpoint
from lightllm_rs.messages.telemetry import Heartbeat, Observations, Report, Sample
from lightllm_rs.process.start import ChildStart

MAX_VALUES = 65_536
"""Values of one histogram that are kept for one report; a caller that never flushes does not grow without end."""

_Key = tuple[str, tuple[str, ...]]


class Telemetry:
    """Collects figures and sends them when told to; the caller calls `flush` and `heartbeat` about once a second.

    Not for use by several threads: a thread that reports makes its own.

    Args:
        start: names the process and the run directory.
        health, metrics: sockets to send by, where the process has some of its own; otherwise two are opened.
    """

    def __init__(self, start: ChildStart, health: Dealer | None = None, metrics: Dealer | None = None) -> None:
        identity = f"{start.process}.{os.getpid()}.figures"
        self._process = start.process
        self._health = health or Dealer(endpoint(start.run_dir, "health"), identity)
        self._metrics = metrics or Dealer(endpoint(start.run_dir, "metrics"), identity)
        self._opened = [dealer for dealer, given in ((self._health, health), (self._metrics, metrics)) if not given]
        self._counters: dict[_Key, float] = {}
        self._gauges: dict[_Key, float] = {}
        self._histograms: dict[_Key, list[float]] = {}

    def heartbeat(self, busy: bool = False, progress: int = 0, full: bool = False) -> None:
        """Says that this process lives; the arguments are those of the message."""
        self._health.send(encode(Heartbeat(self._process, busy, progress, full)))

    def add(self, name: str, value: float = 1.0, labels: tuple[str, ...] = ()) -> None:
        """Adds to a counter."""
        key = (name, labels)
        self._counters[key] = self._counters.get(key, 0.0) + value

    def gauge(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None:
        """Sets a gauge of this process; the page shows the sum over processes."""
        self._gauges[name, labels] = value

    def observe(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None:
        """Adds a value to a histogram."""
        values = self._histograms.setdefault((name, labels), [])
        if len(values) < MAX_VALUES:
            values.append(value)

    def observe_all(self, name: str, values: Sequence[float], labels: tuple[str, ...] = ()) -> None:
        """Adds several values to a histogram."""
        if values:
            kept = self._histograms.setdefault((name, labels), [])
            kept.extend(values[: MAX_VALUES - len(kept)])

    def flush(self) -> None:
        """Sends what was collected, with this process's CPU seconds. Gauges go each time: the server may be new."""
        samples = [
            Sample(name, value, list(labels))
            for group in (self._counters, self._gauges)
            for (name, labels), value in group.items()
        ]
        observations = [Observations(name, values, list(labels)) for (name, labels), values in self._histograms.items()]
        self._counters.clear()
        self._histograms.clear()
        self._metrics.send(encode(Report(self._process, time.process_time(), samples, observations)))

    def close(self) -> None:
        """Closes the sockets that it opened."""
        for dealer in self._opened:
            dealer.close()
