"""Load on a server of a benchmark, by the client of `lightllm-rs bench serve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightllm_rs.bench.figures import figures
from lightllm_rs.bench.load import Load
from lightllm_rs.bench.load import run_load as run
from lightllm_rs.bench.outcome import Outcome, Prompt
from lightllm_rs.bench.target import COMPLETIONS, target_of

TIMEOUT = 600.0

Body = dict[str, Any]


def run_load(host: str, port: int, bodies: Sequence[Body], concurrency: int) -> tuple[list[Outcome], float]:
    """Runs all requests, `concurrency` at a time, in order. Returns their outcomes, and the seconds of it all.

    Args:
        bodies: each with `prompt` and `max_tokens`; what else is in them must be the same in all.
    """
    return _run(host, port, bodies, [0.0] * len(bodies), concurrency)


def run_arrivals(host: str, port: int, bodies: Sequence[Body], at: Sequence[float]) -> tuple[list[Outcome], float]:
    """Sends each request at its time, in seconds from now, whatever has become of those before."""
    return _run(host, port, bodies, at, 0)


def _run(
    host: str, port: int, bodies: Sequence[Body], at: Sequence[float], concurrency: int
) -> tuple[list[Outcome], float]:
    extras = [{key: value for key, value in body.items() if key not in ("prompt", "max_tokens")} for body in bodies]
    assert all(extra == extras[0] for extra in extras), "one target for all"
    target = target_of(f"http://{host}:{port}", COMPLETIONS, None, extras[0])
    prompts = [Prompt(body["prompt"], 0, body["max_tokens"]) for body in bodies]
    return run(Load(target, prompts, at, concurrency, TIMEOUT))


def summary(run: tuple[Sequence[Outcome], float]) -> dict[str, Any]:
    """Figures of a run, as `bench serve` has them."""
    outcomes, seconds = run
    return figures(outcomes, seconds, [99.0], {})
