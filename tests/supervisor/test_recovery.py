"""Processes that die while the service runs, with fake children; the real ones are in test_kill_matrix.py."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from helpers.running_service import RunningService
from supervisor.conftest import FakeService


def ask(url: str, line: int = 0) -> str:
    """What the fake HTTP process says: how the engine is (line 0), and how it has been (1); "" if it is gone."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=60) as connection,
        connection.makefile() as answer,
    ):
        lines = answer.read().splitlines()
        return lines[line] if lines else ""


def wait_for_answer(service: RunningService, url: str, start: str) -> None:
    service.wait_for(lambda: ask(url).startswith(start))


@pytest.mark.parametrize("name", ["router", "backend-0"])
def test_the_engine_restarts_together_and_alone(fake_service: FakeService, name: str) -> None:
    service = fake_service()
    url = service.wait_ready()
    before = {name: child.pid for name, child in service.children().items()}
    wait_for_answer(service, url, "up 0")
    service.kill(name)
    wait_for_answer(service, url, "up 1")
    after = {name: child.pid for name, child in service.children().items()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"router", "backend-0"}
    assert service.end() == 0
    service.assert_nothing_left()


def test_http_hears_at_once_that_the_engine_is_down_and_the_log_why(fake_service: FakeService) -> None:
    service = fake_service()
    url = service.wait_ready()
    wait_for_answer(service, url, "up 0")
    service.kill("backend-0")
    wait_for_answer(service, url, "up 1")
    down = "down because the engine stopped and is starting again"  # nothing of the host
    assert ask(url, line=1) == f"no engine yet; up 0; {down}; up 1"
    service.wait_for(lambda: any("backend 0 was killed by SIGKILL" in line for line in service.stderr))


def test_all_ranks_restart_with_one(fake_service: FakeService) -> None:
    service = fake_service(backend="torch", device="cpu", tp=2)
    url = service.wait_ready()
    before = {name: child.pid for name, child in service.children().items()}
    service.kill("backend-1")
    wait_for_answer(service, url, "up 1")
    after = {name: child.pid for name, child in service.children().items()}
    assert {name for name in before if before[name] != after[name]} == {"router", "backend-0", "backend-1"}
    assert service.end() == 0
    service.assert_nothing_left()


@pytest.mark.parametrize("name", ["http-0", "metric", "health"])
def test_the_others_restart_alone(fake_service: FakeService, name: str) -> None:
    service = fake_service()
    url = service.wait_ready()
    before = {name: child.pid for name, child in service.children().items()}
    former = service.kill(name)
    service.wait_for(service.restarted(name, former))
    wait_for_answer(service, url, "up 0")  # the new HTTP process has the same port, and is told of the engine
    after = {name: child.pid for name, child in service.children().items()}
    assert {name for name in before if before[name] != after[name]} == {name}
    assert service.end() == 0
    service.assert_nothing_left()


@pytest.mark.parametrize(("name", "what"), [("router", "router and backends"), ("http-0", "http-0")])
def test_three_failures_in_a_row_end_the_service(fake_service: FakeService, name: str, what: str) -> None:
    service = fake_service()
    url = service.wait_ready()
    for epoch in range(2):
        former = service.kill(name)
        service.wait_for(service.restarted(name, former))
        wait_for_answer(service, url, "up" if name == "http-0" else f"up {epoch + 1}")
    service.kill(name)
    assert service.wait_end() == 1
    ours = [line for line in service.stderr if line.startswith("lightllm-rs: ")]
    assert len(ours) == 1
    assert ours[0].startswith(f"lightllm-rs: {what} failed three times without 60 s of service between: ")
    service.assert_nothing_left()


def test_a_dead_supervisor_takes_all_with_it(fake_service: FakeService) -> None:
    service = fake_service()
    service.wait_ready()
    service.process.kill()
    service.wait_end()
    service.assert_nothing_left(seconds=60.0)
    assert len(list(service.base.iterdir())) == 1  # nobody was there to remove the run directory
    after = fake_service()
    after.wait_ready()
    assert len(list(after.base.iterdir())) == 1  # the next start has removed it, and made its own
    assert after.end() == 0
    after.assert_nothing_left()
