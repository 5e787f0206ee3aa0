"""Workloads of papers, replayed with the policies that serve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

from lightllm_rs import _core
from lightllm_rs._core import PolicyConfig

PAST_FUTURE_PAPER = "past-future-paper"


class PresetRow(TypedDict):
    """One policy on one workload.

    Attributes:
        policy: its name.
        workload: dist-1 to dist-3.
        seed: of the workload.
        decode_steps: until the last request was taken from the workload.
        evictions: how often a running request went back to the queue.
        finished: requests that ended by then.
        evicted_percent: evictions in percent of the finished requests.
        mean_kv_utilization: mean of what was held, in percent of the capacity.
        wall_seconds: what the replay itself took.
    """

    policy: str
    workload: str
    seed: int
    decode_steps: int
    evictions: int
    finished: int
    evicted_percent: float
    mean_kv_utilization: float
    wall_seconds: float


def past_future_paper(
    *,
    seeds: Sequence[int] = (1,),
    capacity: int = 120_000,
    policies: Sequence[str | PolicyConfig] | None = None,
    policy_seed: int = 0,
) -> list[PresetRow]:
    """Replays the artifact of the Past-Future paper (ASPLOS 2025): three workloads over a pool of `capacity` tokens.

    Prefill takes no time there and an eviction costs nothing: read steps beside evictions.

    Args:
        seeds: of the workloads; each has 3,000 requests.
        policies: names (with their settings in the paper) or complete ones; None: those of the paper, and ours.
        policy_seed: of what policies draw.

    Raises:
        InvalidConfig: a setting is out of its range.
    """
    text = _core.past_future_paper(seeds=seeds, capacity=capacity, policies=policies, policy_seed=policy_seed)
    rows: list[PresetRow] = json.loads(text)
    return rows


def policy_of(words: dict[str, object]) -> str | PolicyConfig:
    """A policy as flags give it: its settings in the paper, unless some are given. Raises InvalidConfig."""
    name, *parameters = words
    if not parameters:
        return str(words[name])
    return PolicyConfig(**words)  # type: ignore[arg-type]
