"""The replay of the Past-Future paper's artifact."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lightllm_rs import simulate
from lightllm_rs.cli import main
from lightllm_rs.scheduling import InvalidConfig, PolicyConfig
from lightllm_rs.simulate import PresetRow

# Policies that draw nothing, seed 1, 120,000 tokens: decode steps and evictions, as published with the artifact.
EXACT = {
    ("aggressive", "dist-1"): (284_390, 2_834),
    ("aggressive", "dist-2"): (611_670, 2_885),
    ("aggressive", "dist-3"): (230_890, 1_058),
    ("conservative", "dist-1"): (486_940, 0),
    ("conservative", "dist-2"): (837_290, 0),
    ("conservative", "dist-3"): (381_070, 0),
    ("oracle", "dist-1"): (295_700, 0),
    ("oracle", "dist-2"): (651_730, 0),
    ("oracle", "dist-3"): (234_540, 0),
}
# Past-Future draws: mean decode steps and percent evicted over many policy seeds.
DRAWN = {"dist-1": (299_950, 7.8), "dist-2": (651_900, 7.1), "dist-3": (239_750, 3.2)}


def test_the_table_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--preset", "past-future-paper", "--seed", "1", "--json", "-"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    found = {(row["policy"], row["workload"]): row for row in rows}
    for cell, (steps, evictions) in EXACT.items():
        assert (found[cell]["decode_steps"], found[cell]["evictions"]) == (steps, evictions), cell
    for workload, (steps, evicted) in DRAWN.items():
        row = found["past_future", workload]
        assert row["decode_steps"] == pytest.approx(steps, rel=0.012)
        assert row["evicted_percent"] == pytest.approx(evicted, abs=2.5)
    for row in rows:
        assert {*PresetRow.__annotations__} == {*row}
        assert row["seed"] == 1
        assert row["evicted_percent"] == pytest.approx(100 * row["evictions"] / row["finished"])
        assert 50 < row["mean_kv_utilization"] < 100


def test_it_is_reproducible_and_takes_policies() -> None:
    def steps(**settings: Any) -> list[int]:
        return [row["decode_steps"] for row in simulate.past_future_paper(**settings)]

    drawn = steps(policies=["past_future"], seeds=[3])
    assert steps(policies=["past_future"], seeds=[3]) == drawn
    assert steps(policies=["past_future"], seeds=[3], policy_seed=1) != drawn
    assert steps(policies=[PolicyConfig("conservative")]) == steps(policies=["conservative"])
    assert steps(policies=["conservative"], capacity=60_000) > steps(policies=["conservative"])
    with pytest.raises(InvalidConfig, match="capacity"):
        simulate.past_future_paper(capacity=5)


def test_flags_that_say_nothing_to_it_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    preset = ["simulate", "--preset", "past-future-paper"]
    assert main([*preset, "--cost", "constant:1ms"]) == 2
    assert "--cost" in capsys.readouterr().err
    for flags in (
        "--requests 5",
        "--n 4",
        "--kv-cache-tokens 5",
        "--arrivals poisson",
        "--set slots=1",
        "--page-size 4",
        "--jobs 2",
        "--skip-too-large",
        "--no-enable-prefix-caching",
        "--slo-ttft 1s",
    ):
        assert main([*preset, *flags.split()]) == 2
        assert f"{flags.split()[0].replace('--no-', '--')} says nothing to a preset" in capsys.readouterr().err
    assert main(["simulate", "trace.csv", *preset[1:]]) == 2
    assert "TRACE says nothing to a preset" in capsys.readouterr().err
    assert main([*preset, "--capacity", "12"]) == 2
    assert "capacity: is 12: aggressive does not get through dist-1" in capsys.readouterr().err
    assert main([*preset, "--policy", "oracle", "--capacity", "50000", "--seed", "1,2"]) == 0
    assert capsys.readouterr().out.count("oracle") == 6
