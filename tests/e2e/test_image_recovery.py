"""Processes of images that stop or die while requests with images are under way; all of them are real."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from helpers.asking import SECONDS, Ask, join, leaving, picture, serves, waits
from helpers.changed_service import changed_command
from helpers.running_service import RunningService, serve_command
from helpers.seeing_service import make_seeing_folder

FLAGS = ("--device", "cpu", "--mm-cache-size", "0.03", "--kv-cache-tokens", "8192", "--threads", "1")
PATIENT = ("--image-wait-timeout", "3600", "--visual-stall-seconds", "3600")
"""No time runs out while a test has stopped a process: what an answer does not wait for, it would wait an hour for."""


@pytest.fixture(scope="session")
def seeing_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_seeing_folder(tmp_path_factory.mktemp("models") / "tiny-internvl", "internvl")


@pytest.fixture
def service(seeing_folder: Path, tmp_path: Path) -> Iterator[RunningService]:
    yield from run(serve_command(str(seeing_folder), *FLAGS, *PATIENT), tmp_path / "r")


@pytest.fixture
def patient(seeing_folder: Path, tmp_path: Path) -> Iterator[RunningService]:
    """A service that waits for a cache manager as long as it takes."""
    command = changed_command("http", "patient_child.py", str(seeing_folder), *FLAGS, *PATIENT)
    yield from run(command, tmp_path / "r")


@pytest.fixture
def impatient(seeing_folder: Path, tmp_path: Path) -> Iterator[RunningService]:
    """A service in which requests wait a few seconds for their images."""
    flags = ("--image-wait-timeout", "5", "--visual-stall-seconds", "3600")
    yield from run(serve_command(str(seeing_folder), *FLAGS, *flags), tmp_path / "r")


def run(command: list[str], base: Path) -> Iterator[RunningService]:
    base.mkdir()
    with RunningService(command, base) as running:
        running.wait_ready()
        yield running
        assert running.end() == 0
        running.assert_nothing_left()


@pytest.fixture
def url(service: RunningService) -> str:
    return service.wait_ready()


def test_text_does_not_wait_for_images(service: RunningService, url: str) -> None:
    visual = service.children()["visual-0"]
    visual.send_signal(signal.SIGSTOP)
    images = [Ask(url, picture(seed)) for seed in range(3)]
    service.wait_for(waits(url, "lightllm_mm_cache_items", 3))
    text = [Ask(url, "Only text, please.", tokens=20) for _ in range(3)]
    join(text)
    assert [one.status for one in text] == [200] * 3
    assert all(one.is_alive() for one in images)
    visual.send_signal(signal.SIGCONT)
    join(images)
    assert [one.status for one in images] == [200] * 3
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))


def test_a_client_that_leaves_frees_its_images(service: RunningService, url: str) -> None:
    visual = service.children()["visual-0"]
    visual.send_signal(signal.SIGSTOP)
    with leaving(url, picture(1)):
        service.wait_for(waits(url, "lightllm_mm_cache_items", 1))
    service.wait_for(waits(url, "vllm:num_requests_waiting", 0))
    service.wait_for(waits(url, "vllm:num_requests_running", 0))
    visual.send_signal(signal.SIGCONT)
    service.wait_for(waits(url, "lightllm_mm_cache_abandoned_total", 1))
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
    after = Ask(url, picture(1))
    join([after])
    assert after.status == 200


def test_a_cache_manager_that_hangs_costs_images_and_no_text(impatient: RunningService) -> None:
    """Nobody ends it; `/health` says so, and it goes on where it stood."""
    service, url = impatient, impatient.wait_ready()
    service.wait_for(serves(url, 1))
    manager = service.children()["cache"]
    manager.send_signal(signal.SIGSTOP)
    images = [Ask(url, picture(seed)) for seed in (1, 2)]  # the first is in the cache
    text = Ask(url, "Text goes on.", tokens=20)
    join([*images, text])
    assert text.status == 200, text.text
    assert [one.status for one in images] == [503, 503]
    assert all("image_timeout" in one.text for one in images)
    service.wait_for(lambda: httpx.get(f"{url}/health", timeout=60).text == "degraded")
    service.wait_for(lambda: httpx.get(f"{url}/ready", timeout=60).status_code == 200)
    manager.send_signal(signal.SIGCONT)
    service.wait_for(serves(url, 2))
    service.wait_for(lambda: httpx.get(f"{url}/health", timeout=60).text == "ok")
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
    assert service.children()["cache"].pid == manager.pid


def test_requests_wait_for_the_next_cache_manager(patient: RunningService) -> None:
    service, url = patient, patient.wait_ready()
    before = {name: child.pid for name, child in service.children().items()}
    visual = service.children()["visual-0"]
    text = Ask(url, "Text goes on as if nothing were.", tokens=400)
    visual.send_signal(signal.SIGSTOP)
    images = [Ask(url, picture(seed)) for seed in range(4)]
    service.wait_for(waits(url, "lightllm_mm_cache_items", 4))
    service.process.send_signal(signal.SIGSTOP)  # nobody starts another one, until
    former = service.kill("cache")
    new = [Ask(url, picture(seed)) for seed in range(4, 7)]
    join([text])
    assert text.status == 200, text.text
    assert all(one.is_alive() for one in [*images, *new])
    service.process.send_signal(signal.SIGCONT)
    service.wait_for(service.restarted("cache", former))
    visual.send_signal(signal.SIGCONT)
    join([*images, *new])
    assert [one.status for one in [*images, *new]] == [200] * 7, [one.text for one in images]
    service.wait_for(waits(url, "lightllm_image_resends_total", 4))
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
    after = {name: child.pid for name, child in service.children().items()}
    assert {name for name in before if before[name] != after[name]} == {"cache"}


def test_requests_fail_in_time_when_no_cache_manager_comes(service: RunningService, url: str) -> None:
    visual, supervisor = service.children()["visual-0"], service.process
    visual.send_signal(signal.SIGSTOP)
    images = [Ask(url, picture(seed)) for seed in range(2)]
    service.wait_for(waits(url, "lightllm_mm_cache_items", 2))
    supervisor.send_signal(signal.SIGSTOP)  # nobody starts another one
    service.kill("cache")
    late = Ask(url, picture(3))
    join([*images, late])  # while there is still none
    for one in [*images, late]:
        assert one.status == 503
        assert "image cache" in one.text
        assert int(one.headers["retry-after"]) > 0
    text = Ask(url, "And text?")
    join([text])
    assert text.status == 200
    supervisor.send_signal(signal.SIGCONT)
    visual.send_signal(signal.SIGCONT)
    service.wait_for(serves(url, 5))


def test_what_is_with_the_backend_goes_on_without_the_cache_manager(service: RunningService, url: str) -> None:
    backend = service.children()["backend-0"]
    messages = [{"role": "user", "content": picture(1)}]
    body = {"messages": messages, "max_tokens": 1500, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=SECONDS) as answer:
        lines = (line for line in answer.iter_lines() if line)
        first = next(lines)
        backend.send_signal(signal.SIGSTOP)  # so that it cannot end meanwhile
        former = service.kill("cache")
        service.wait_for(service.restarted("cache", former))
        backend.send_signal(signal.SIGCONT)
        rest = list(lines)
    assert answer.status_code == 200
    assert "error" not in first
    assert rest[-1] == "data: [DONE]"
    assert '"finish_reason":"length"' in rest[-2]
    service.wait_for(serves(url, 1))


def test_a_visual_server_that_dies_costs_nothing_but_time(service: RunningService, url: str) -> None:
    visual = service.children()["visual-0"]
    visual.send_signal(signal.SIGSTOP)
    images = [Ask(url, picture(seed)) for seed in range(3)]
    service.wait_for(waits(url, "lightllm_mm_cache_items", 3))
    former = service.kill("visual-0")
    service.wait_for(service.restarted("visual-0", former))
    join(images)
    assert [one.status for one in images] == [200] * 3, [one.text for one in images]


def test_an_http_process_that_dies_holds_nothing(service: RunningService, url: str) -> None:
    visual = service.children()["visual-0"]
    visual.send_signal(signal.SIGSTOP)
    images = [Ask(url, picture(seed)) for seed in range(2)]
    service.wait_for(waits(url, "lightllm_mm_cache_items", 2))
    former = service.kill("http-0")
    join(images)
    assert [one.status for one in images] == [0] * 2
    service.wait_for(service.restarted("http-0", former))
    service.wait_for(lambda: httpx.get(f"{url}/ready", timeout=60).status_code == 200)
    visual.send_signal(signal.SIGCONT)
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
    after = Ask(url, picture(1))
    join([after])
    assert after.status == 200, after.text


def test_a_new_engine_reads_images_too(service: RunningService, url: str) -> None:
    visual = service.children()["visual-0"]
    visual.send_signal(signal.SIGSTOP)
    images = [Ask(url, picture(seed)) for seed in range(2)]
    service.wait_for(waits(url, "lightllm_mm_cache_items", 2))
    service.kill("backend-0")
    join(images)  # while nothing can be encoded
    assert [one.status for one in images] == [503] * 2
    visual.send_signal(signal.SIGCONT)
    service.wait_for(serves(url, 7))
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
