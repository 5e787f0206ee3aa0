"""Every format of trace is known by its first line and simulated; synthetic workloads too."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.simulate_traces import written
from lightllm_rs import simulate
from lightllm_rs.simulate.formats import format_of

COST = {"version": 1, "kind": "constant", "ms": 10.0}


@pytest.mark.parametrize("kind", ["azure", "mooncake", "burstgpt", "sharegpt"])
def test_a_trace_is_served_to_its_end(kind: str, tmp_path: Path) -> None:
    path, requests = written(tmp_path)[kind]
    assert format_of(path) == kind
    arrivals = {"arrivals": {"kind": "poisson"}, "rate": 5.0} if kind == "sharegpt" else {}
    report = simulate.run({"workload": {"source": {"kind": kind, "path": str(path)}, **arrivals}, "cost": COST})
    assert (report["arrived"], report["finished"], report["refused"]["total"]) == (requests, requests, 0)
    assert report["itl_ms"]["p50"] == 10.0
    assert report["ttft_ms"]["mean"] >= 10.0
    assert report["e2e_ms"]["count"] == requests
    assert report["goodput"]["part"] == 1.0, "without objectives all are good"


def test_hash_ids_drive_the_prefix_cache(tmp_path: Path) -> None:
    path, _ = written(tmp_path)["mooncake"]
    setup = {"workload": {"source": {"kind": "mooncake", "path": str(path)}}, "cost": COST}
    report = simulate.run(setup)
    assert report["prefix_hit_rate"] == pytest.approx(1024 / (1100 + 1030 + 600), abs=0.01)
    report = simulate.run({**setup, "scheduler": {"prefix_cache": False}})
    assert report["prefix_hit_rate"] == 0.0


@pytest.mark.parametrize(
    "workload",
    [
        {"arrivals": {"kind": "poisson"}, "rate": 20.0},
        {"arrivals": {"kind": "gamma", "shape": 0.25}, "rate": 20.0},
        {"arrivals": {"kind": "constant"}, "rate": 20.0},
        {"arrivals": {"kind": "closed", "clients": 4}},
        {"arrivals": {"kind": "at_once"}},
        {"arrivals": {"kind": "poisson"}, "rate": 20.0, "shared_prefix": {"tokens": 256}, "tenants": 3},
        {"arrivals": {"kind": "poisson"}, "rate": 20.0, "priorities": [-1, 0, 1], "n": 2},
        {"arrivals": {"kind": "poisson"}, "rate": 20.0, "image": {"after": 90, "tokens": 64, "delay_ms": 30.5}, "n": 2},
    ],
)
def test_synthetic_workloads(workload: dict[str, object]) -> None:
    source = {
        "kind": "synthetic",
        "prompt": {"kind": "log_normal", "mean": 300.0, "sigma": 0.8},
        "output": {"kind": "uniform", "min": 5, "max": 40},
    }
    report = simulate.run({"workload": {"source": source, **workload}, "cost": COST, "limits": {"requests": 60}})
    assert report["arrived"] == report["finished"] == 60 * int(str(workload.get("n", 1)))
    arrivals = workload["arrivals"]
    assert isinstance(arrivals, dict)
    if arrivals["kind"] == "closed":
        assert max(report["timeline"]["running"]) <= 4
    if "shared_prefix" in workload:
        assert report["prefix_hit_rate"] > 0.3


def test_every_policy_and_mode_serves(tmp_path: Path) -> None:
    path, requests = written(tmp_path)["azure"]
    from lightllm_rs.scheduling import PolicyConfig

    setups = [
        {
            "workload": {"source": {"kind": "azure", "path": str(path)}},
            "cost": COST,
            "scheduler": {"policy": policy, "mode": mode},
        }
        for policy in PolicyConfig.NAMES
        for mode in ("chunked", "prefill_first", "decode_first")
    ]
    reports = simulate.sweep(setups)
    assert [report["finished"] for report in reports] == [requests] * len(setups)
    assert [report["policy"] for report in reports] == [setup["scheduler"]["policy"] for setup in setups]  # type: ignore[index]
