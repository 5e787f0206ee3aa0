"""The figures themselves, fed by reports."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from lightllm_rs.messages.telemetry import Observations, Report, Sample
from lightllm_rs.metric.catalogue import BY_NAME, CATALOGUE, Metric

GAUGE_LIFE_SECONDS = 15.0
"""Gauges of a process that has not reported for so long are left out: it is dead, or as good as."""

MAX_LABEL_SETS = 1024
"""Label sets of one metric; more are refused, so that a sender cannot grow the page without end."""

_Labels = tuple[str, ...]


class Histogram:
    """Counts of one label set.

    Attributes:
        counts: values in each bucket (not cumulative); the last one is for all above.
        total: sum of the values.
    """

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Adds one value."""
        self.counts[bisect_left(self._buckets, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, values up to it), as the page has them."""
        found, sum_so_far = [], 0
        bounds = [*(repr(bound) for bound in self._buckets), "+Inf"]
        for bound, count in zip(bounds, self.counts, strict=True):
            sum_so_far += count
            found.append((bound, float(sum_so_far)))
        return found


class Store:
    """All values of all metrics. A prometheus-client collector.

    Args:
        model_name: a label of all `vllm:` metrics, which vLLM's dashboards select by.
    """

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._counters: dict[str, dict[_Labels, float]] = {}
        self._gauges: dict[str, dict[_Labels, dict[str, float]]] = {}
        self._histograms: dict[str, dict[_Labels, Histogram]] = {}
        self._reported: dict[str, float] = {}
        self._cpu: dict[str, float] = {}

    def take(self, report: Report, now: float) -> int:
        """Takes in a report. Returns how many of its entries were refused: unknown, or with wrong labels or values."""
        self._reported[report.process] = now
        refused = 0
        before = self._cpu.get(report.process, 0.0)
        grown = report.cpu_seconds - before if report.cpu_seconds >= before else report.cpu_seconds  # a new process
        self._cpu[report.process] = report.cpu_seconds
        cpu = Sample("lightllm_process_cpu_seconds_total", grown, [report.process])
        for sample in (cpu, *report.samples):
            refused += not self._take_sample(sample, report.process)
        for observations in report.observations:
            refused += not self._take_observations(observations)
        return refused

    def _take_sample(self, sample: Sample, process: str) -> bool:
        metric, labels = BY_NAME.get(sample.name), tuple(sample.labels)
        if metric is None or len(labels) != len(metric.labels) or not math.isfinite(sample.value):
            return False
        if metric.kind == "counter":
            values = self._counters.setdefault(metric.name, {})
            if sample.value < 0 or (labels not in values and len(values) >= MAX_LABEL_SETS):
                return False
            values[labels] = values.get(labels, 0.0) + sample.value
            return True
        gauges = self._gauges.setdefault(metric.name, {})
        if metric.kind != "gauge" or (labels not in gauges and len(gauges) >= MAX_LABEL_SETS):
            return False
        gauges.setdefault(labels, {})[process] = sample.value
        return True

    def _take_observations(self, observations: Observations) -> bool:
        metric, labels = BY_NAME.get(observations.name), tuple(observations.labels)
        if metric is None or metric.kind != "histogram" or len(labels) != len(metric.labels):
            return False
        histograms = self._histograms.setdefault(metric.name, {})
        if labels not in histograms and len(histograms) >= MAX_LABEL_SETS:
            return False
        histogram = histograms.setdefault(labels, Histogram(metric.buckets))
        finite = [value for value in observations.values if math.isfinite(value)]
        for value in finite:
            histogram.observe(value)
        return len(finite) == len(observations.values)

    def value(self, name: str, now: float) -> float:
        """Present value of a counter or gauge, summed over label sets and processes; 0 where nothing was reported."""
        if name in self._counters:
            return sum(self._counters[name].values())
        return sum(sum(self._living(processes, now)) for processes in self._gauges.get(name, {}).values())

    def observed(self, name: str) -> tuple[int, float]:
        """How many values a histogram has, over all label sets, and their sum."""
        histograms = self._histograms.get(name, {}).values()
        return sum(sum(one.counts) for one in histograms), sum(one.total for one in histograms)

    def _living(self, processes: dict[str, float], now: float) -> list[float]:
        return [
            value
            for process, value in processes.items()
            if process == "supervisor" or now - self._reported[process] < GAUGE_LIFE_SECONDS
        ]

    def families(self, now: float) -> Iterator[Family]:
        """Every metric of the catalogue. One without labels and without reports is 0."""
        for metric in CATALOGUE:
            extra = (self._model_name,) if metric.page_name.startswith("vllm:") else ()
            names = ("model_name", *metric.labels) if extra else metric.labels
            yield self._family(metric, names, extra, now)

    def _family(self, metric: Metric, names: _Labels, extra: _Labels, now: float) -> Family:
        unlabelled = not metric.labels
        if metric.kind == "counter":
            counter = CounterMetricFamily(metric.page_name, metric.help, labels=names)
            values = self._counters.get(metric.name) or ({(): 0.0} if unlabelled else {})
            for labels, value in values.items():
                counter.add_metric([*extra, *labels], value)
            return counter
        if metric.kind == "gauge":
            gauge = GaugeMetricFamily(metric.page_name, metric.help, labels=names)
            for labels, processes in (self._gauges.get(metric.name) or ({(): {}} if unlabelled else {})).items():
                living = self._living(processes, now)
                if living or unlabelled:
                    gauge.add_metric([*extra, *labels], sum(living))
            return gauge
        family = HistogramMetricFamily(metric.page_name, metric.help, labels=names)
        histograms = self._histograms.get(metric.name) or ({(): Histogram(metric.buckets)} if unlabelled else {})
        for labels, histogram in histograms.items():
            family.add_metric([*extra, *labels], histogram.cumulative(), histogram.total)
        return family
