"""Health and metrics of a service of real processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from helpers.running_service import RunningService, serve_command
from lightllm_rs.metric.catalogue import CATALOGUE
from supervisor.streams import Stream, complete

# These need what this service does not do: dying processes, broken frames, requests that do not fit or share what is
# being computed, a disk that fails, images; and, in a test below, a small pool.
QUIET = {
    "lightllm_process_restarts_total",
    "lightllm_bad_frames_total",
    "lightllm_bypasses_total",
    "lightllm_deferrals_total",
    "lightllm_image_stall_seconds",
    "lightllm_journal_errors_total",
    "lightllm_prefills_ahead_total",
    "lightllm_requests_awaiting_images",
    "lightllm_preemptions_total",
}


@pytest.fixture(scope="module")
def service(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    base = tmp_path_factory.mktemp("f") / "r"
    base.mkdir()
    flags = ("--served-model-name", "tiny", "--backend", "mock", "--mock-step-ms", "20", "--stall-seconds", "1")
    sizes = ("--max-num-seqs", "2", "--max-queued-requests", "2")
    with RunningService(serve_command(str(tiny_model), *flags, *sizes), base) as running:
        yield running


def totals(url: str) -> dict[str, float]:
    """Values by metric: the sum over labels, and the count of a histogram."""
    found = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=10).text):
        wanted = {"counter": f"{family.name}_total", "gauge": family.name, "histogram": f"{family.name}_count"}
        found[wanted[family.type].removesuffix("_count")] = sum(
            sample.value for sample in family.samples if sample.name == wanted[family.type]
        )
    return found


def test_every_metric_moves(service: RunningService) -> None:
    url = service.wait_ready()
    body = {"model": "tiny", "prompt": "The quick brown fox " * 8, "max_tokens": 8, "ignore_eos": True, "frobnicate": 1}
    for choices in (1, 2):  # the second finds the first's prompt in the prefix cache
        assert httpx.post(f"{url}/v1/completions", json={**body, "n": choices}, timeout=60).status_code == 200
    streams = [Stream(url, 150, f"stream {number}") for number in range(3)]
    service.wait_for(lambda: sum(stream.chunks > 0 for stream in streams) == 2)
    seen: dict[str, float] = {}

    def look() -> None:
        for name, value in totals(url).items():
            seen[name] = max(seen.get(name, 0.0), value)

    def one_waits() -> bool:
        look()
        return seen["vllm:num_requests_waiting"] > 0 and seen["lightllm_queue_size"] > 0

    service.wait_for(one_waits)  # now: when the next one has its first token, nobody waits any more
    leaving = body | {"max_tokens": 200, "stream": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=leaving, timeout=60):
        pass  # and away
    assert httpx.post(f"{url}/v1/completions", json={"model": "tiny"}, timeout=60).status_code == 400

    def all_moved() -> bool:
        look()
        return all(seen[metric.page_name] > 0 for metric in moving)

    of_images = {metric.name for metric in CATALOGUE if "image" in metric.name or metric.owner in ("cache", "visual")}
    quiet = QUIET | of_images | {"batch_pause_size"}  # tests/e2e/test_image_recovery.py moves those of images
    moving = [metric for metric in CATALOGUE if metric.name not in quiet]
    try:
        service.wait_for(all_moved, seconds=30)
    except AssertionError:
        raise AssertionError([metric.name for metric in moving if seen[metric.page_name] == 0]) from None
    assert seen["lightllm_pages_total"] >= seen["lightllm_pages_free"]
    assert set(seen) == {metric.page_name for metric in CATALOGUE}


def test_health_sees_a_backend_that_hangs(service: RunningService) -> None:
    url = service.wait_ready()
    service.wait_for(lambda: complete(url).status_code == 200)
    assert httpx.get(f"{url}/health").status_code == 200
    stream = Stream(url, 100)
    service.wait_for(lambda: stream.chunks > 1)
    backend = service.children()["backend-0"]
    backend.send_signal(signal.SIGSTOP)
    service.wait_for(lambda: httpx.get(f"{url}/health").status_code == 503, seconds=20)
    assert httpx.get(f"{url}/ready").status_code == 503
    assert httpx.get(f"{url}/live").status_code == 200
    backend.send_signal(signal.SIGCONT)
    service.wait_for(lambda: httpx.get(f"{url}/health").status_code == 200, seconds=20)
    service.wait_for(lambda: stream.finish == "length")


def test_ready_sees_a_full_queue(service: RunningService) -> None:
    url = service.wait_ready()
    service.wait_for(lambda: totals(url)["vllm:num_requests_running"] == 0)
    streams = [Stream(url, 200, f"many {number}") for number in range(5)]  # 2 run, 2 wait, at least 1 is refused
    service.wait_for(lambda: any("429" in stream.error for stream in streams))
    service.wait_for(lambda: httpx.get(f"{url}/ready").status_code == 503, seconds=20)
    service.wait_for(lambda: all(stream.finish or stream.error for stream in streams))
    assert all(stream.finish or "429" in stream.error for stream in streams)
    service.wait_for(lambda: httpx.get(f"{url}/ready").status_code == 200, seconds=20)
    answer = complete(url)
    assert answer.status_code == 200


def test_pages_that_run_out_are_counted_and_come_back(tiny_model: Path, tmp_path: Path) -> None:
    flags = ("--served-model-name", "tiny", "--backend", "mock", "--mock-step-ms", "5")
    greedy = ("--admission-policy", "aggressive", "--admission-watermark", "1.0")  # others see it coming
    command = serve_command(str(tiny_model), *flags, *greedy, "--kv-cache-tokens", "512")
    with RunningService(command, tmp_path) as service:
        url = service.wait_ready()
        streams = [Stream(url, 400, f"stream {number}") for number in range(4)]  # each needs most of the pages
        service.wait_for(lambda: totals(url)["lightllm_batch_pause_size"] > 0)
        service.wait_for(lambda: all(stream.finish for stream in streams))
        service.wait_for(lambda: totals(url)["vllm:num_requests_running"] == 0)
        end = totals(url)
        assert end["lightllm_preemptions_total"] > 0
        assert end["lightllm_pages_running"] == 0
        assert service.end() == 0
