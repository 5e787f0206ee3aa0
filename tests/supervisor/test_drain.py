"""The end: drain, patience, second signal, processes that do not hear."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from supervisor.conftest import FakeService


def test_requests_in_flight_get_their_time(fake_service: FakeService) -> None:
    service = fake_service({"http-0": ["busy"]}, drain_timeout=1.5)
    url = service.wait_ready()
    began = time.monotonic()
    assert service.end() == 0
    assert time.monotonic() - began >= 1.5
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    service.assert_nothing_left()


def test_a_second_signal_ends_the_patience(fake_service: FakeService) -> None:
    service = fake_service({"http-0": ["busy"]}, drain_timeout=600.0)
    service.wait_ready()
    service.process.send_signal(signal.SIGINT)
    service.wait_for(lambda: any("stopping" in line for line in service.stderr))
    assert service.process.poll() is None
    assert service.end(signal.SIGINT) == 0
    service.assert_nothing_left()


def test_an_engine_that_dies_in_the_drain_is_not_started_again(fake_service: FakeService) -> None:
    service = fake_service({"http-0": ["busy"]}, drain_timeout=600.0)
    service.wait_ready()
    service.process.send_signal(signal.SIGTERM)
    service.wait_for(lambda: any("stopping" in line for line in service.stderr))
    service.kill("router")
    service.wait_for(lambda: "backend-0" not in service.children())
    assert service.process.poll() is None
    assert service.end() == 0
    assert not any("starting router and backends again" in line for line in service.stderr)
    service.assert_nothing_left()


@pytest.mark.parametrize("name", ["cache", "visual-0"])
def test_processes_of_images_come_back_in_the_drain(fake_service: FakeService, name: str) -> None:
    service = fake_service({"http-0": ["busy"], "cache": ["arena"]}, sees=True, drain_timeout=600.0)
    service.wait_ready()
    service.process.send_signal(signal.SIGTERM)
    service.wait_for(lambda: any("stopping" in line for line in service.stderr))
    service.wait_for(service.restarted(name, service.kill(name)))
    assert service.end() == 0
    service.assert_nothing_left()


def test_http_that_dies_in_the_drain_has_nothing_left_to_drain(fake_service: FakeService) -> None:
    service = fake_service({"http-0": ["busy"]}, drain_timeout=600.0)
    service.wait_ready()
    service.process.send_signal(signal.SIGTERM)
    service.wait_for(lambda: any("stopping" in line for line in service.stderr))
    service.kill("http-0")
    assert service.wait_end() == 0
    service.assert_nothing_left()


def test_a_child_that_does_not_hear_is_killed(fake_service: FakeService) -> None:
    service = fake_service({"router": ["deaf"]})
    service.wait_ready()
    assert service.end() == 0
    assert any("router did not stop and is killed" in line for line in service.stderr)
    service.assert_nothing_left()
