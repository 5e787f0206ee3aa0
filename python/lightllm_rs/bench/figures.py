"""Figures of a run, as the field defines them.

TTFT: from sending a request to its first text. TPOT: the mean time of a token after the first, one value a request.
ITL: the time between two events with text, one value an event. E2EL: from sending to the last text. Throughputs divide
by the time from the first request's sending to the last one's end. Goodput: requests a second that keep all limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.outcome import Outcome

METRICS = ("ttft", "tpot", "itl", "e2el")
GOODPUT_METRICS = ("ttft", "tpot", "e2el")


def figures(
    outcomes: Sequence[Outcome], seconds: float, percentiles: Sequence[float], limits: Mapping[str, float]
) -> dict[str, Any]:
    """All figures of a run; times in milliseconds.

    Args:
        seconds: the run's whole time.
        percentiles: each from 0 to 100.
        limits: milliseconds by metric (ttft, tpot, e2el) that a request must keep to count for the goodput.

    Raises BenchError if no request succeeded.
    """
    good = [outcome for outcome in outcomes if not outcome.error]
    if not good:
        reason = outcomes[0].error if outcomes else "none was sent"
        raise BenchError(f"no request succeeded; the first error: {reason}")
    input_tokens = sum(outcome.prompt_tokens for outcome in good)
    output_tokens = sum(outcome.output_tokens for outcome in good)
    found: dict[str, Any] = {
        "duration": seconds,
        "completed": len(good),
        "failed": len(outcomes) - len(good),
        "total_input_tokens": input_tokens,
        "total_output_tokens": output_tokens,
        "request_throughput": len(good) / seconds,
        "request_goodput": goodput(good, seconds, limits) if limits else None,
        "output_throughput": output_tokens / seconds,
        "total_token_throughput": (input_tokens + output_tokens) / seconds,
    }
    for metric in METRICS:
        found |= spread(metric, values_of(metric, good), percentiles)
    return found


def values_of(metric: str, outcomes: Sequence[Outcome]) -> list[float]:
    """All values of a metric, in milliseconds."""
    if metric == "ttft":
        return [1e3 * outcome.ttft for outcome in outcomes]
    if metric == "tpot":
        return [1e3 * tpot for outcome in outcomes if (tpot := outcome.tpot) is not None]
    if metric == "itl":
        return [1e3 * gap for outcome in outcomes for gap in outcome.gaps]
    return [1e3 * outcome.e2el for outcome in outcomes]


def spread(metric: str, values: Sequence[float], percentiles: Sequence[float]) -> dict[str, float]:
    """Mean, median, standard deviation and percentiles (linear between values); all 0 where there are no values."""
    array = np.asarray(values or [0.0])
    found = {
        f"mean_{metric}_ms": float(array.mean()),
        f"median_{metric}_ms": float(np.median(array)),
        f"std_{metric}_ms": float(array.std()),
    }
    for percentile in percentiles:
        found[f"p{percentile:g}_{metric}_ms"] = float(np.percentile(array, percentile))
    return found


def goodput(outcomes: Sequence[Outcome], seconds: float, limits: Mapping[str, float]) -> float:
    """Requests a second within all limits (ms). A request of one token has no TPOT, and keeps any limit of it."""

    def keeps(outcome: Outcome) -> bool:
        values = {"ttft": outcome.ttft, "tpot": outcome.tpot or 0.0, "e2el": outcome.e2el}
        return all(1e3 * values[metric] <= limit for metric, limit in limits.items())

    return sum(keeps(outcome) for outcome in outcomes) / seconds
