"""What a simulation finds. Times are in milliseconds, unless a name says otherwise; parts are from 0 to 1."""

from __future__ import annotations

from typing import Any, TypedDict


class Summary(TypedDict):
    """A distribution; 0 where there are no samples."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class Refused(TypedDict):
    """Requests that were not served, by reason."""

    total: int
    queue_full: int
    deadline: int
    context: int
    pool: int
    other: int


class Utilization(TypedDict):
    """How much of what could be used was used.

    Attributes:
        kv_mean: part of the KV cache that running requests hold, over time.
        kv_max: the most of it.
        step_tokens: part of the token budget that steps used, over steps.
        backend: part of the time in which a step ran.
        running_mean: requests that ran, over time.
        queued_mean: requests that waited, over time.
    """

    kv_mean: float
    kv_max: float
    step_tokens: float
    backend: float
    running_mean: float
    queued_mean: float


class Goodput(TypedDict):
    """Requests that kept all objectives; refused ones kept none. `part` is of all that arrived."""

    requests: int
    requests_per_s: float
    part: float


class Throughput(TypedDict):
    """Over the simulated time."""

    requests_per_s: float
    prompt_tokens_per_s: float
    output_tokens_per_s: float


class Timeline(TypedDict):
    """Means over up to 1,000 equal pieces of time; `kv` and `kv_cached` are parts of the KV cache."""

    seconds: list[float]
    running: list[float]
    queued: list[float]
    kv: list[float]
    kv_cached: list[float]


class Cdf(TypedDict):
    """Quantiles: `ttft_ms[i]` is the one of `part[i]`. Empty where there are no samples."""

    part: list[float]
    ttft_ms: list[float]
    itl_ms: list[float]
    tpot_ms: list[float]
    e2e_ms: list[float]
    queue_ms: list[float]


class Report(TypedDict):
    """Figures of one simulation.

    Attributes:
        name: of the setup.
        policy: admission policy.
        seed: of the setup.
        arrived, finished: requests.
        refused: requests that were not served.
        simulated_seconds: from the first arrival to the last event.
        steps: of the backend.
        ttft_ms: from arrival to the first token.
        itl_ms: between two tokens of a request; one sample a token.
        tpot_ms: the same; one sample, the mean, a request.
        e2e_ms: from arrival to the last token.
        queue_ms: from arrival to the first admission.
        evictions: times a running request gave up its pages; `evicted_percent` is over finished requests.
        prefix_hit_rate: part of the prompt tokens that was in the prefix cache.
    """

    name: str
    policy: str
    seed: int
    arrived: int
    finished: int
    refused: Refused
    simulated_seconds: float
    steps: int
    ttft_ms: Summary
    itl_ms: Summary
    tpot_ms: Summary
    e2e_ms: Summary
    queue_ms: Summary
    utilization: Utilization
    evictions: int
    evicted_percent: float
    prefix_hit_rate: float
    goodput: Goodput
    throughput: Throughput
    timeline: Timeline
    cdf: Cdf


Setup = dict[str, Any]
"""What to simulate, as JSON: `docs/simulation.md` lists the parts."""
