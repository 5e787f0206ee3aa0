"""Processes of images that die again and again, or hang: text goes on, and images come back. All of them are real."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from helpers.asking import Ask, join, picture, serves, waits
from helpers.changed_service import changed_command
from helpers.deadly_child import DEADLY
from helpers.metrics_page import metric
from helpers.running_service import RunningService, serve_command
from helpers.seeing_service import image_part, make_seeing_folder, noise
from helpers.stuck_child import STUCK

FLAGS = ("--device", "cpu", "--mm-cache-size", "0.03", "--kv-cache-tokens", "8192", "--threads", "1")
HANGS_AFTER = "10"
"""Seconds: a service on a busy machine says once a second that it lives, and late by less than this."""

Serve = Callable[..., RunningService]


@pytest.fixture(scope="session")
def seeing_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_seeing_folder(tmp_path_factory.mktemp("models") / "tiny-internvl", "internvl")


@pytest.fixture
def serve(seeing_folder: Path, tmp_path: Path) -> Iterator[Serve]:
    base = tmp_path / "r"
    base.mkdir()
    with ExitStack() as stack:

        def start(*flags: str, command: list[str] | None = None) -> RunningService:
            line = [*(command or serve_command()), str(seeing_folder), *FLAGS, *flags]
            return stack.enter_context(RunningService(line, base))

        yield start


def end(service: RunningService) -> None:
    assert service.end() == 0
    service.assert_nothing_left()


def killed(service: RunningService, name: str) -> int:
    """How often the log says that a process died."""
    return sum(f"{name} was killed by SIGKILL; starting it again" in line for line in service.stderr)


def health(url: str) -> httpx.Response:
    return httpx.get(f"{url}/health", timeout=60)


@pytest.mark.parametrize("name", ["cache", "visual-0"])
def test_many_deaths_cost_images_some_time_and_text_nothing(serve: Serve, name: str) -> None:
    service = serve()
    url = service.wait_ready()
    seen = Ask(url, picture(0))
    join([seen])
    assert seen.status == 200, seen.text
    untouched = {other: child.pid for other, child in service.children().items() if other != name}
    text = Ask(url, "Text goes on as if nothing were.", tokens=1000)
    supervisor = service.process
    for deaths in range(1, 10):
        former = service.kill(name)
        service.wait_for(lambda deaths=deaths: killed(service, name.replace("-", " ")) == deaths)
        if deaths > 3:  # some seconds until the next try
            supervisor.send_signal(signal.SIGSTOP)  # if nothing works yet, nothing will for as long as we look
            if health(url).text == "degraded":
                break
            supervisor.send_signal(signal.SIGCONT)
        service.wait_for(lambda: name in service.children())
    assert health(url).status_code == 200
    assert httpx.get(f"{url}/ready", timeout=60).status_code == 200
    assert metric(url, "lightllm_images_available") == 0
    refused, other_text = Ask(url, picture(1)), Ask(url, "And text?")
    join([refused, other_text])
    assert refused.status == 503
    error = json.loads(refused.text)["error"]
    assert error["code"] == "images_unavailable"
    assert f"again in {refused.headers['retry-after']} s" in error["message"]
    assert other_text.status == 200
    if name == "visual-0":  # what was encoded before is in the cache
        again = Ask(url, picture(0))
        join([again])
        assert again.status == 200, again.text
    supervisor.send_signal(signal.SIGCONT)
    service.wait_for(service.restarted(name, former))
    service.wait_for(serves(url, 2))
    service.wait_for(waits(url, "lightllm_images_available", 1))
    service.wait_for(lambda: health(url).text == "ok")
    join([text])
    assert text.status == 200, text.text
    after = {other: child.pid for other, child in service.children().items()}
    assert untouched.items() <= after.items()
    end(service)


def test_an_image_that_kills_visual_servers_is_refused_and_costs_the_others_some_time(serve: Serve) -> None:
    service = serve("--image-wait-timeout", "3600", command=changed_command("visual", "deadly_child.py"))
    url = service.wait_ready()
    visual = service.children()["visual-0"]
    visual.send_signal(signal.SIGSTOP)  # so that all come together
    innocent = [Ask(url, picture(seed)) for seed in range(6)]
    deadly = Ask(url, [image_part(noise(*DEADLY, 1))])
    service.wait_for(waits(url, "lightllm_mm_cache_items", 7))
    visual.send_signal(signal.SIGCONT)
    join([deadly, *innocent])
    assert deadly.status == 400
    assert "messages.0.content.0.image_url" in deadly.text
    assert "died 3 times" in deadly.text
    assert [one.status for one in innocent] == [200] * 6, [one.text for one in innocent]
    service.wait_for(serves(url, 9))
    service.wait_for(lambda: killed(service, "visual 0") == 3)  # the supervisor may hear of a death after the cache
    again = Ask(url, [image_part(noise(*DEADLY, 1))])
    join([again])
    assert (again.status, again.text) == (deadly.status, deadly.text)
    assert killed(service, "visual 0") == 3, "it was not tried again"
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
    end(service)


def test_a_visual_server_that_hangs_is_ended_and_another_encodes_its_images(serve: Serve) -> None:
    service = serve("--visual-dp", "2", "--visual-stall-seconds", HANGS_AFTER, "--image-wait-timeout", "3600")
    url = service.wait_ready()
    stopped = service.children()["visual-0"]
    stopped.send_signal(signal.SIGSTOP)  # what it has asked for it still gets
    images = [Ask(url, picture(seed)) for seed in range(6)]
    join(images)
    assert [one.status for one in images] == [200] * 6, [one.text for one in images]
    service.wait_for(service.restarted("visual-0", stopped.pid))
    assert any("visual-0 has said nothing for" in line for line in service.stderr)
    service.wait_for(waits(url, "lightllm_mm_cache_leases", 0))
    end(service)


def test_a_device_that_never_ends_with_an_image_is_noticed_though_its_process_lives(serve: Serve) -> None:
    command = changed_command("visual", "stuck_child.py")
    service = serve("--visual-stall-seconds", HANGS_AFTER, "--image-wait-timeout", "3600", command=command)
    url = service.wait_ready()
    stuck = Ask(url, [image_part(noise(*STUCK, 1))])
    innocent = [Ask(url, picture(seed)) for seed in range(2)]
    join([*innocent, stuck])
    assert [one.status for one in innocent] == [200] * 2, [one.text for one in innocent]
    assert stuck.status == 400
    assert "died 3 times" in stuck.text
    assert any("visual-0 has made no progress with its images for" in line for line in service.stderr)
    service.wait_for(serves(url, 3))
    end(service)
