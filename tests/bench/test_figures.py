"""Arithmetic of a benchmark's figures on outcomes made by hand, and flags that are refused."""

from __future__ import annotations

import itertools
import statistics

import pytest

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.figures import figures, goodput, spread
from lightllm_rs.bench.load import Load, _part, arrivals
from lightllm_rs.bench.outcome import Outcome, Prompt
from lightllm_rs.bench.report import report, sweep_table
from lightllm_rs.bench.target import Target, target_of
from lightllm_rs.cli import main

OUTCOMES = [
    Outcome(10.0, 10.1, 10.5, [0.1, 0.3], prompt_tokens=100, output_tokens=5),
    Outcome(10.0, 10.3, 11.3, [1.0], prompt_tokens=50, output_tokens=3),
    Outcome(11.0, 11.2, 11.2, [], prompt_tokens=10, output_tokens=1),
    Outcome(11.0, error="status 429: the queue is full"),
]


def test_figures_of_known_outcomes() -> None:
    found = figures(OUTCOMES, 2.0, [50.0, 99.0], {})
    assert (found["completed"], found["failed"]) == (3, 1)
    assert (found["total_input_tokens"], found["total_output_tokens"]) == (160, 9)
    assert found["request_throughput"] == 1.5
    assert found["output_throughput"] == 4.5
    assert found["total_token_throughput"] == 84.5
    assert found["request_goodput"] is None
    assert found["mean_ttft_ms"] == pytest.approx(200)
    assert found["median_ttft_ms"] == pytest.approx(200)
    assert found["p99_ttft_ms"] == pytest.approx(200 + 0.98 * 100)
    assert found["mean_tpot_ms"] == pytest.approx((100 + 500) / 2)  # one token has none
    assert found["mean_itl_ms"] == pytest.approx((100 + 300 + 1000) / 3)
    assert found["mean_e2el_ms"] == pytest.approx((500 + 1300 + 200) / 3)


def test_percentiles_are_those_of_the_standard_library() -> None:
    values = [float(value * value % 97) for value in range(200)]
    found = spread("itl", values, [25.0, 75.0, 99.9])
    cuts = statistics.quantiles(values, n=1000, method="inclusive")
    assert found["p25_itl_ms"] == pytest.approx(cuts[249])
    assert found["p75_itl_ms"] == pytest.approx(cuts[749])
    assert found["p99.9_itl_ms"] == pytest.approx(cuts[998])
    assert found["std_itl_ms"] == pytest.approx(statistics.pstdev(values))


@pytest.mark.parametrize(
    ("limits", "good"),
    [
        ({"ttft": 1e9}, 3),
        ({"ttft": 250.0}, 2),
        ({"tpot": 100.1}, 2),
        ({"tpot": 99.0}, 1),
        ({"e2el": 500.1}, 2),
        ({"ttft": 150.0, "tpot": 100.1, "e2el": 600.0}, 1),
        ({"ttft": 1.0}, 0),
    ],
)
def test_goodput_counts_what_keeps_all_limits(limits: dict[str, float], good: int) -> None:
    assert goodput(OUTCOMES[:3], 2.0, limits) == good / 2
    assert figures(OUTCOMES, 2.0, [99.0], limits)["request_goodput"] == good / 2


def test_nothing_good_is_an_error() -> None:
    with pytest.raises(BenchError, match="the first error: status 429"):
        figures(OUTCOMES[3:], 1.0, [99.0], {})


def test_arrivals_keep_the_rate_and_the_seed() -> None:
    assert arrivals(3, float("inf"), 1.0, 0) == [0.0, 0.0, 0.0]
    times = arrivals(4001, 50.0, 1.0, 7)
    assert times == sorted(times) == arrivals(4001, 50.0, 1.0, 7)
    assert times[0] == 0.0
    assert times[-1] == pytest.approx(4000 / 50, rel=0.08)
    steady = arrivals(1001, 50.0, 1000.0, 7)
    gaps = [later - earlier for earlier, later in itertools.pairwise(steady)]
    assert statistics.pstdev(gaps) < 0.1 * statistics.fmean(gaps)


@pytest.mark.parametrize(("concurrency", "processes"), [(0, 3), (7, 3), (3, 3), (8, 2)])
def test_processes_share_prompts_and_concurrency(concurrency: int, processes: int) -> None:
    target = Target("h", 1, False, "/v1/completions", "m")
    prompts = [Prompt(str(number), 1, 1) for number in range(10)]
    load = Load(target, prompts, [float(number) for number in range(10)], concurrency, 1.0)
    parts = [_part(load, index, processes) for index in range(processes)]
    assert sorted(prompt.text for part in parts for prompt in part.prompts) == sorted(map(str, range(10)))
    assert all(float(prompt.text) == at for part in parts for prompt, at in zip(part.prompts, part.at, strict=True))
    assert sum(part.concurrency for part in parts) == concurrency


def test_tables_have_all_that_was_measured() -> None:
    result = {**figures(OUTCOMES, 2.0, [99.0], {"ttft": 250.0}), "max_concurrency": 4, "request_rate": None}
    text = report(result, ["ttft", "e2el"])
    assert "P99 TTFT (ms):" in text
    assert "Request goodput (req/s):" in text
    assert "Inter-token" not in text
    assert "RPS" not in text
    assert len(sweep_table([result, result], "max_concurrency", [99.0]).splitlines()) == 3
    assert "inf" in sweep_table([result, {**result, "request_rate": 4.0}], "request_rate", [99.0])


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightllm_rs.bench.target.models_of", lambda base: ["tiny", "second"])
    target = target_of("https://h.example/base/", "/v1/completions", "second", {})
    assert (target.host, target.port, target.tls, target.path) == ("h.example", 443, True, "/base/v1/completions")
    names = [(None, "tiny"), ("second", "second"), ("/models/tiny", "tiny"), ("other", "other")]
    for given, name in names:
        assert target_of("http://h:1", "/v1/completions", given, {}).model == name
    for url, endpoint in (("h:1", "/v1/completions"), ("ftp://h", "/x"), ("http://h", "v1")):
        with pytest.raises(BenchError):
            target_of(url, endpoint, "m", {})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-prompts", "0"], "must be at least 1"),
        (["--request-rate", "0"], "must be above 0"),
        (["--request-rate", "1,x"], "--request-rate"),
        (["--request-rate", "nan"], "must be above 0"),
        (["--max-concurrency", "4,0"], "must be at least 1"),
        (["--goodput", "ttft"], "write a metric and milliseconds"),
        (["--goodput", "itl:20"], "none of ttft, tpot, e2el"),
        (["--percentile-metrics", "ttft,foo"], "'foo' is none of"),
        (["--metric-percentiles", "101"], "must be from 0 to 100"),
        (["--random-range-ratio", "2"], "must be from 0 to 1"),
        (["--extra-body", "[1]"], "is no JSON object"),
        (["--dataset-name", "sonnet"], "invalid choice"),
        (["--num-prompt", "3"], "unrecognized arguments"),
    ],
)
def test_bad_flags(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "serve", *flags]) == 2
    assert message in capsys.readouterr().err


def test_two_lists_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "serve", "--request-rate", "1,2", "--max-concurrency", "1,2"]) == 1
    assert "sweep one at a time" in capsys.readouterr().err
