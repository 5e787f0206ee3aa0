"""Processes of images that stop or die while requests with images are under way; all of them are real."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.running_service import RunningService, serve_command
from helpers.seeing_service import image_part, make_seeing_folder, noise, text_part

ANSWER_SECONDS = 2.0
FLAGS = ("--device", "cpu", "--mm-cache-size", "0.03", "--kv-cache-tokens", "8192", "--threads", "1")


@pytest.fixture(scope="session")
def seeing_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_seeing_folder(tmp_path_factory.mktemp("models") / "tiny-internvl", "internvl")


@pytest.fixture
def service(seeing_folder: Path, tmp_path: Path) -> Iterator[RunningService]:
    base = tmp_path / "r"
    base.mkdir()
    with RunningService(serve_command(str(seeing_folder), *FLAGS), base) as running:
        running.wait_ready()
        yield running
        assert running.end() == 0
        running.assert_nothing_left()


class Ask(threading.Thread):
    """A chat in a thread of its own.

    Attributes:
        status: of the answer; 0 if the connection broke.
        ended: `time.monotonic()` of its end.
    """

    def __init__(self, url: str, content: Any, tokens: int = 2, timeout: float = 60.0) -> None:
        super().__init__(daemon=True)
        self.status, self.text, self.ended = 0, "", 0.0
        self._body = {"messages": [{"role": "user", "content": content}], "max_tokens": tokens, "ignore_eos": True}
        self._url, self._timeout = url, timeout
        self.start()

    def run(self) -> None:
        try:
            answer = httpx.post(f"{self._url}/v1/chat/completions", json=self._body, timeout=self._timeout)
            self.status, self.text = answer.status_code, answer.text
        except httpx.HTTPError as error:
            self.text = repr(error)
        self.ended = time.monotonic()


def picture(seed: int) -> list[dict[str, Any]]:
    """A prompt with a picture that no other seed has."""
    return [text_part("See "), image_part(noise(60, 40, seed))]


def metric(url: str, name: str) -> float:
    page = httpx.get(f"{url}/metrics", timeout=60).text
    lines = [line for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.split()[-1]) for line in lines)


def waits(url: str, name: str, value: float) -> Callable[[], bool]:
    return lambda: metric(url, name) == value


@pytest.fixture
def url(service: RunningService) -> str:
    return service.wait_ready()


def join(asked: list[Ask]) -> None:
    for one in asked:
        one.join(timeout=60)
        assert not one.is_alive(), "a request hangs"


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
    leaving = Ask(url, picture(1), timeout=1.0)
    service.wait_for(waits(url, "lightllm_mm_cache_items", 1))
    join([leaving])
    assert leaving.status == 0
    service.wait_for(waits(url, "vllm:num_requests_waiting", 0))
    service.wait_for(waits(url, "vllm:num_requests_running", 0))
    visual.send_signal(signal.SIGCONT)
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
    after = Ask(url, picture(1))
    join([after])
    assert after.status == 200


def test_images_are_sent_again_when_the_cache_manager_dies(service: RunningService, url: str) -> None:
    before = {name: child.pid for name, child in service.children().items()}
    visual = service.children()["visual-0"]
    text = Ask(url, "Text goes on as if nothing were.", tokens=400)
    visual.send_signal(signal.SIGSTOP)
    images = [Ask(url, picture(seed)) for seed in range(4)]
    service.wait_for(waits(url, "lightllm_mm_cache_items", 4))
    former = service.kill("cache")
    service.wait_for(service.restarted("cache", former))
    visual.send_signal(signal.SIGCONT)
    join([text, *images])
    assert text.status == 200, text.text
    assert [one.status for one in images] == [200] * 4, [one.text for one in images]
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
    killed = time.monotonic()
    join(images)
    assert [one.status for one in images] == [503] * 2
    for one in images:
        assert one.ended - killed < ANSWER_SECONDS
        assert "image cache" in one.text
    text = Ask(url, "And text?")
    join([text])
    assert text.status == 200
    supervisor.send_signal(signal.SIGCONT)
    visual.send_signal(signal.SIGCONT)

    def served() -> bool:
        again = Ask(url, picture(5))
        join([again])
        assert again.status in (200, 503), again.text
        return again.status == 200

    service.wait_for(served)


def test_what_is_with_the_backend_goes_on_without_the_cache_manager(service: RunningService, url: str) -> None:
    backend = service.children()["backend-0"]
    messages = [{"role": "user", "content": picture(1)}]
    body = {"messages": messages, "max_tokens": 1500, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as answer:
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

    def served() -> bool:
        again = Ask(url, picture(1))
        join([again])
        return again.status == 200

    service.wait_for(served)


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
    killed = time.monotonic()
    join(images)
    assert [one.status for one in images] == [503] * 2
    assert all(one.ended - killed < ANSWER_SECONDS for one in images)
    visual.send_signal(signal.SIGCONT)

    def served() -> bool:
        again = Ask(url, picture(7))
        join([again])
        assert again.status in (200, 503), again.text
        return again.status == 200

    service.wait_for(served)
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
