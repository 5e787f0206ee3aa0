"""A service with little room for images: what never fits, what comes back, and the end with images under way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.test_image_recovery import FLAGS, Ask, join, picture, waits
from helpers.running_service import RunningService, serve_command
from helpers.seeing_service import image_part, make_seeing_folder, noise, text_part

SMALL = ("--mm-cache-size", "0.001", "--max-held-image-bytes", str(2 << 20))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = make_seeing_folder(tmp_path_factory.mktemp("models") / "tiny-internvl", "internvl")
    base: Path = tmp_path_factory.mktemp("b") / "r"
    base.mkdir()
    with RunningService(serve_command(str(folder), *FLAGS, *SMALL, "--visual-dp", "2"), base) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def url(service: RunningService) -> str:
    return service.wait_ready()


def test_images_that_never_fit_are_refused_with_the_sum(url: str) -> None:
    large = Ask(url, [image_part(noise(700, 700))])  # 1.4 MiB of noise
    join([large])
    assert large.status == 400, large.text
    assert "images_too_large" in large.text
    assert "MiB of the image cache and all of it is 0.9 MiB" in large.text


def test_two_visual_servers_share_the_images(service: RunningService, url: str) -> None:
    assert {"visual-0", "visual-1"} <= set(service.children())
    asked: list[Ask] = []
    with service.frozen("visual-0"):
        while sum(one.status == 200 for one in asked) < 3:
            assert len(asked) < 20, "the other one does nothing"
            asked.append(Ask(url, picture(100 + len(asked))))
            asked[-1].join(timeout=5)  # for ever, where the frozen one had asked for it before
    join(asked)
    assert {one.status for one in asked} == {200}


def test_pictures_of_refused_requests_are_let_go(service: RunningService, url: str) -> None:
    part = image_part(noise(180, 180, 1))  # 100 kB; 20 of them are all that is held at once
    for _ in range(40):
        body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 100_000}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
        assert answer.status_code == 400
        assert "context" in answer.text
    for seed in range(30):
        parts = [text_part("x"), image_part(noise(180, 180, 1000 + seed))]
        body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 1000, "ignore_eos": True}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/chat/completions", json=body, timeout=httpx.Timeout(60, read=0.02))
    after = Ask(url, [part])
    join([after])
    assert after.status == 200, after.text
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))


def test_images_under_way_are_answered_before_the_end(service: RunningService, url: str) -> None:
    children = service.children()
    for name in ("visual-0", "visual-1"):
        children[name].send_signal(signal.SIGSTOP)
    asked = [Ask(url, picture(seed)) for seed in (201, 202)]
    service.wait_for(waits(url, "lightllm_mm_cache_queue", 0))
    service.wait_for(waits(url, "lightllm_requests_awaiting_images", 2))
    service.process.send_signal(signal.SIGTERM)
    service.wait_for(lambda: any("stopping" in line for line in service.stderr))
    for name in ("visual-0", "visual-1"):
        children[name].send_signal(signal.SIGCONT)
    join(asked)
    assert [one.status for one in asked] == [200, 200], [one.text for one in asked]
    assert service.wait_end() == 0
    service.assert_nothing_left()
