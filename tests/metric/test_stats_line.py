"""The line of figures in the log."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers.metrics_page import metrics_page
from helpers.running_service import RunningService, serve_command
from helpers.tiny_models import make_tiny_model
from lightllm_rs.messages.telemetry import Observations, Report, Sample
from lightllm_rs.metric.stats_line import StatsLine
from lightllm_rs.metric.store import Store
from supervisor.streams import complete


def router(store: Store, now: float, *, prompt: int, generated: int, running: int, queries: int = 0) -> None:
    figures = {
        "vllm:prompt_tokens_total": prompt,
        "vllm:generation_tokens_total": generated,
        "vllm:num_requests_running": running,
        "vllm:num_requests_waiting": 2 * running,
        "vllm:kv_cache_usage_perc": 0.25,
        "vllm:prefix_cache_queries_total": queries,
        "vllm:prefix_cache_hits_total": queries / 4,
    }
    assert store.take(Report("router", now, [Sample(name, value) for name, value in figures.items()]), now) == 0


def test_rates_and_means_are_of_the_time_between_two_lines() -> None:
    store = Store("tiny")
    router(store, 0.0, prompt=5000, generated=7000, running=0, queries=80)
    store.take(Report("http-0", 0.0, [], [Observations("vllm:time_to_first_token_seconds", [9.0])]), 0.0)
    stats = StatsLine(store, 0.0)
    assert stats.line(10.0) is None
    router(store, 19.0, prompt=20_000, generated=400, running=3, queries=1000)
    latencies = [
        Observations("vllm:time_to_first_token_seconds", [0.030, 0.050]),
        Observations("vllm:inter_token_latency_seconds", [0.008]),
    ]
    store.take(Report("http-0", 19.0, [], latencies), 19.0)
    assert stats.line(20.0) == (
        "prompt 2,000 tok/s, generation 40 tok/s, running 3, waiting 6, KV cache 25.0 %, prefix hits 25.0 %, "
        "TTFT 40.0 ms, ITL 8.0 ms"
    )


def test_images_are_told_of_while_there_are_any() -> None:
    store = Store("tiny")
    router(store, 0.0, prompt=0, generated=0, running=1)
    stats = StatsLine(store, 0.0)
    figures = {
        "lightllm_mm_cache_queries_total": 50,
        "lightllm_mm_cache_hits_total": 10,
        "lightllm_mm_cache_joins_total": 30,
        "lightllm_mm_cache_used_bytes": 1 << 20,
        "lightllm_mm_cache_total_bytes": 1 << 22,
        "lightllm_mm_cache_queue": 3,
    }
    store.take(Report("cache", 9.0, [Sample(name, value) for name, value in figures.items()]), 9.0)
    store.take(Report("http-0", 9.0, [], [Observations("lightllm_image_wait_seconds", [0.1, 0.3])]), 9.0)
    line = stats.line(10.0)
    assert line is not None
    assert line.endswith(", images 5.0/s, image hits 80.0 %, image cache 25.0 %, visual queue 3, image wait 200.0 ms")
    store.take(Report("cache", 19.0, [Sample("lightllm_mm_cache_queue", 0.0)]), 19.0)
    line = stats.line(20.0)
    assert line is not None
    assert "image" not in line


def test_images_that_wait_are_work_although_no_request_runs() -> None:
    store = Store("tiny")
    router(store, 0.0, prompt=0, generated=0, running=0)
    stats = StatsLine(store, 0.0)
    for now, queue in ((9.0, 2.0), (19.0, 0.0)):
        store.take(Report("cache", now, [Sample("lightllm_mm_cache_queue", queue)]), now)
        line = stats.line(now + 1.0)
        assert line is not None
        assert ("visual queue 2" in line) == (queue > 0)
    assert line == "idle: no request runs or waits"


def test_one_line_when_work_ends_and_none_after_it() -> None:
    store = Store("tiny")
    stats = StatsLine(store, 0.0)
    router(store, 1.0, prompt=10, generated=1, running=1)
    lines = [stats.line(2.0)]
    router(store, 3.0, prompt=0, generated=0, running=1)  # it runs, and has no token yet
    lines.append(stats.line(4.0))
    router(store, 5.0, prompt=0, generated=1, running=0)  # it has ended since the last line
    lines += [stats.line(6.0), stats.line(8.0), stats.line(10.0)]
    assert [line if line is None else line.split()[0] for line in lines] == [
        "prompt",
        "prompt",
        "prompt",
        "idle:",
        None,
    ]
    assert lines[1] is not None
    assert lines[1].endswith("prefix hits -, TTFT -, ITL -")


def said(service: RunningService, word: str) -> list[str]:
    return [line for line in service.stderr if f" metric INFO {word} " in line]


@pytest.mark.parametrize("flags", [["--log-stats-interval", "0.2"], ["--no-log-stats", "--log-stats-interval", "0.2"]])
def test_the_log_of_a_service(tmp_path: Path, flags: list[str]) -> None:
    model = make_tiny_model(tmp_path / "model")
    base = tmp_path / "r"
    base.mkdir()
    command = serve_command(str(model), "--served-model-name", "tiny", "--backend", "mock", *flags)
    with RunningService(command, base) as service:
        url = service.wait_ready()
        assert complete(url).status_code == 200
        if "--no-log-stats" in flags:
            # The metric server has all that it needs for a line, and five times the interval to write it.
            service.wait_for(lambda: 'vllm:generation_tokens_total{model_name="tiny"} 0.0' not in metrics_page(url))
            time.sleep(1.0)
            assert not said(service, "prompt") + said(service, "idle:")
        else:
            service.wait_for(lambda: said(service, "idle:"))
            assert any("generation 0 tok/s" not in line for line in said(service, "prompt"))
