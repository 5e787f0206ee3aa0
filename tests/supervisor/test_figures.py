"""Health and metrics of a service of real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from helpers.metrics_page import metrics_page
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


FLAGS = ("--served-model-name", "tiny", "--backend", "mock", "--mock-step-ms", "20")
SIZES = ("--max-num-seqs", "2", "--max-queued-requests", "2")


@pytest.fixture(scope="module")
def service(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    base = tmp_path_factory.mktemp("f") / "r"
    base.mkdir()
    with RunningService(serve_command(str(tiny_model), *FLAGS, *SIZES, "--stall-seconds", "1"), base) as running:
        yield running


def totals(url: str) -> dict[str, float]:
    """Values by metric: the sum over labels, and the count of a histogram."""
    found = {}
    for family in text_string_to_metric_families(metrics_page(url)):
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
    seen: dict[str, float] = {}

    def look() -> None:
        for name, value in totals(url).items():
            seen[name] = max(seen.get(name, 0.0), value)

    def one_waits() -> bool:
        look()
        return seen["vllm:num_requests_waiting"] > 0 and seen["lightllm_queue_size"] > 0

    with service.frozen("backend-0"):
        for number in range(3):
            Stream(url, 150, f"stream {number}")
        service.wait_for(one_waits)
    leaving = body | {"max_tokens": 400, "stream": True}
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
        service.wait_for(all_moved)
    except AssertionError:
        raise AssertionError([metric.name for metric in moving if seen[metric.page_name] == 0]) from None
    assert seen["lightllm_pages_total"] >= seen["lightllm_pages_free"]
    assert set(seen) == {metric.page_name for metric in CATALOGUE}


def test_health_sees_a_backend_that_hangs(service: RunningService) -> None:
    url = service.wait_ready()
    service.wait_for(lambda: complete(url).status_code == 200)
    service.wait_for(says(url, "/health", 200))
    with service.frozen("backend-0"):
        stream = Stream(url, 100)
        service.wait_for(says(url, "/health", 503))
        service.wait_for(says(url, "/ready", 503))
        assert says(url, "/live", 200)()
    service.wait_for(says(url, "/health", 200))
    service.wait_for(lambda: stream.finish == "length")


def says(url: str, route: str, status: int) -> Callable[[], bool]:
    """Whether it does, once it is called."""
    return lambda: httpx.get(url + route, timeout=60).status_code == status


def test_ready_sees_a_full_queue(tiny_model: Path, tmp_path: Path) -> None:
    with RunningService(serve_command(str(tiny_model), *FLAGS, *SIZES), tmp_path) as service:
        url = service.wait_ready()
        service.wait_for(says(url, "/ready", 200))
        with service.frozen("backend-0"):
            streams = [Stream(url, 50, f"many {number}") for number in range(5)]  # 2 are taken, 2 wait, 1 is refused
            service.wait_for(lambda: any("429" in stream.error for stream in streams))
            service.wait_for(says(url, "/ready", 503))
            assert says(url, "/health", 200)(), "only its queue is full"
        service.wait_for(lambda: all(stream.finish or stream.error for stream in streams))
        assert all(stream.finish or "429" in stream.error for stream in streams)
        service.wait_for(says(url, "/ready", 200))
        assert complete(url).status_code == 200


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
