"""The page of all metrics, for tests."""

from __future__ import annotations

import time

import httpx


def metrics_page(url: str) -> str:
    """The page. A metric server that starts again, or is late on a busy machine, is asked again."""
    deadline = time.monotonic() + 60
    while (answer := httpx.get(f"{url}/metrics", timeout=60)).status_code == 503:
        assert time.monotonic() < deadline, answer.text
    return answer.raise_for_status().text


def total(page: str, name: str) -> float:
    """The sum of a metric's values on the page."""
    lines = [line for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def metric(url: str, name: str) -> float:
    """The same of the present page."""
    return total(metrics_page(url), name)
