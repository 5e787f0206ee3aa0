"""The page in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from lightllm_rs.metric.store import Store


class Page(Collector):
    """Renders a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Family]:
        """Called by prometheus-client."""
        return self._store.families(time.monotonic())

    def render(self) -> str:
        """The page."""
        return generate_latest(self._registry).decode()
