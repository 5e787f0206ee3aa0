"""Any process is killed while requests run: they end with an error, the service comes back. All are real."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from helpers.metrics_page import metric
from helpers.running_service import RunningService, serve_command
from supervisor.streams import Stream, complete, completes

STREAMS = 8
LONG = 400  # tokens of a stream: at 20 ms a step 8 s at least, so that what takes them away comes first


def mock_service(model: Path, base: Path, *flags: str) -> RunningService:
    base.mkdir()
    command = serve_command(str(model), "--served-model-name", "tiny", "--backend", "mock", "--mock-step-ms", "20")
    return RunningService([*command, *flags], base)


@pytest.fixture(scope="module")
def service(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with mock_service(tiny_model, tmp_path_factory.mktemp("k") / "r") as running:
        yield running
        assert running.end() == 0
        running.assert_nothing_left()


def flowing_streams(service: RunningService, url: str) -> list[Stream]:
    streams = [Stream(url, LONG, f"stream {number}") for number in range(STREAMS)]
    service.wait_for(lambda: all(stream.chunks > 2 or stream.error for stream in streams))
    assert [stream.error for stream in streams] == [""] * STREAMS
    return streams


def assert_all_fail(streams: list[Stream]) -> None:
    for stream in streams:
        stream.thread.join(timeout=60)
        assert not stream.thread.is_alive(), "a request hangs"
        assert stream.error, "a request that was cut off looks complete"


def test_every_process_shows_its_name(service: RunningService) -> None:
    service.wait_ready()
    found = service.children()
    assert set(found) == {"http-0", "router", "backend-0", "metric", "health"}
    for name, process in found.items():
        assert process.name() == f"llrs-{name}"[:15]


@pytest.mark.parametrize("name", ["router", "backend-0"])
def test_engine(service: RunningService, name: str) -> None:
    url = service.wait_ready()
    untouched = {
        other: child.pid for other, child in service.children().items() if other not in ("router", "backend-0")
    }
    streams = flowing_streams(service, url)
    service.kill(name)
    assert_all_fail(streams)
    assert all("lost" in stream.error for stream in streams), [stream.error for stream in streams]
    answers: list[httpx.Response] = []
    service.wait_for(lambda: answers.append(complete(url)) or answers[-1].status_code == 200)
    for answer in answers[:-1]:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["message"]
    after = {other: child.pid for other, child in service.children().items()}
    assert untouched.items() <= after.items()
    assert len(after) == 5


def test_http(service: RunningService) -> None:
    url = service.wait_ready()
    streams = flowing_streams(service, url)
    former = service.kill("http-0")
    assert_all_fail(streams)
    service.wait_for(service.restarted("http-0", former))
    service.wait_for(lambda: completes(url))
    # The new process's hello has ended the requests of the old one, and nothing of them is left.
    service.wait_for(lambda: metric(url, "vllm:num_requests_running") == 0)
    service.wait_for(lambda: metric(url, "lightllm_pages_running") == 0)


@pytest.mark.parametrize(("name", "route"), [("metric", "/metrics"), ("health", "/health")])
def test_servers_of_figures(service: RunningService, name: str, route: str) -> None:
    url = service.wait_ready()
    streams = flowing_streams(service, url)
    former = service.kill(name)
    service.wait_for(service.restarted(name, former))
    service.wait_for(lambda: answers_well(url + route))
    seen = [stream.chunks for stream in streams]
    service.wait_for(
        lambda: all(stream.finish or stream.chunks > before for stream, before in zip(streams, seen, strict=True))
    )
    assert [stream.error for stream in streams] == [""] * STREAMS


def answers_well(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).status_code == 200
    except httpx.HTTPError:
        return False


def refuses(url: str) -> bool:
    """Whether nobody takes connections any more."""
    try:
        complete(url)
    except httpx.HTTPError:
        return True
    return False


def test_supervisor(tiny_model: Path, tmp_path: Path) -> None:
    with mock_service(tiny_model, tmp_path / "r") as service:
        url = service.wait_ready()
        streams = flowing_streams(service, url)
        service.process.kill()
        assert_all_fail(streams)
        service.wait_end()
        service.assert_nothing_left(seconds=60.0)


def test_drain_lets_requests_finish(tiny_model: Path, tmp_path: Path) -> None:
    with mock_service(tiny_model, tmp_path / "r") as service:
        url = service.wait_ready()
        stream = Stream(url, 100)
        service.wait_for(lambda: stream.chunks > 0 or stream.error)
        service.process.send_signal(signal.SIGTERM)
        service.wait_for(lambda: any("stopping" in line for line in service.stderr))
        while not refuses(url):  # the line is written just before the port is closed
            time.sleep(0.01)
        assert service.wait_end() == 0
        stream.thread.join(timeout=60)
        assert (stream.error, stream.finish) == ("", "length")
        service.assert_nothing_left()


def test_drain_ends_at_its_limit(tiny_model: Path, tmp_path: Path) -> None:
    with mock_service(tiny_model, tmp_path / "r", "--drain-timeout", "0.5") as service:
        url = service.wait_ready()
        stream = Stream(url, LONG)
        service.wait_for(lambda: stream.chunks > 0 or stream.error)
        assert service.end() == 0
        stream.thread.join(timeout=60)
        assert "the service is stopping" in stream.error
        assert not any("Traceback" in line for line in service.stderr)
        service.assert_nothing_left()
