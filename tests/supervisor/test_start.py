"""Starting: what is printed, and every way in which it can go wrong."""

from __future__ import annotations

import re
import signal
import socket

import pytest

from helpers.running_service import RunningService
from supervisor.conftest import FakeService


def test_prints_a_table_and_a_line_to_paste(fake_service: FakeService) -> None:
    service = fake_service(api_key="sesame")
    url = service.wait_ready()
    service.end()
    text = "\n".join(service.stdout)
    for name in ("http-0", "router", "backend-0", "metric", "health"):
        assert f"  {name} " in text
    assert "fake 0.25 (nothing to load)" in text
    assert f"curl {url}/v1/chat/completions" in text
    assert '"Authorization: Bearer $LIGHTLLM_API_KEY"' in text
    assert "sesame" not in text + "\n".join(service.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_nothing_left(fake_service: FakeService, number: int) -> None:
    service = fake_service(http_workers=2)
    service.wait_ready()
    assert set(service.children()) == {"http-0", "http-1", "router", "backend-0", "metric", "health"}
    assert service.end(number) == 0
    service.assert_nothing_left()


def test_a_signal_while_loading_ends_it_too(fake_service: FakeService) -> None:
    service = fake_service({"backend-0": ["mute"]})
    service.wait_for(lambda: len(service.children()) == 5)
    assert service.end() == 0
    service.assert_nothing_left()


@pytest.mark.parametrize(
    ("name", "behaviours", "expected"),
    [
        ("backend-0", ["words no room: lower --max-model-len"], "backend 0: no room: lower --max-model-len"),
        ("http-0", ["print about to fail", "exit 3"], "http 0 exited with code 3; its last line: about to fail"),
        ("metric", ["exit 0"], "metric exited with code 0"),
        ("router", ["wrong-protocol"], "router speaks version 999 of the wire"),
    ],
)
def test_a_child_that_fails_ends_the_start(
    fake_service: FakeService, name: str, behaviours: list[str], expected: str
) -> None:
    service = fake_service({name: behaviours})
    assert_start_fails(service, f"lightllm-rs: {expected}")


def test_a_child_that_is_not_ready_in_time_ends_the_start(fake_service: FakeService) -> None:
    service = fake_service({"router": ["mute"]}, start_timeout=3.0)
    assert_start_fails(service, r"lightllm-rs: not ready after 3 s: (.*, )?router(, .*)?; if it was busy")


def assert_start_fails(service: RunningService, expected: str) -> None:
    """With one line that begins as it is expected, a regular expression, and with nothing left."""
    assert service.wait_end() == 1
    ours = [line for line in service.stderr if line.startswith("lightllm-rs: ")]
    assert len(ours) == 1
    assert re.match(expected, ours[0]), ours
    assert not any("Traceback" in line for line in service.stderr)
    service.assert_nothing_left()


def test_what_a_child_wants_to_be_read_is_logged(fake_service: FakeService) -> None:
    service = fake_service({"router": ["notice the journal ends here"]})
    service.wait_ready()
    service.end()
    assert any(line.endswith("WARNING router: the journal ends here") for line in service.stderr), service.stderr


def test_a_port_in_use_is_known_before_anything_loads(fake_service: FakeService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = fake_service(port=port, model="/nonexistent")
        assert service.wait_end() == 1
    assert service.stderr == [
        f"lightllm-rs: port {port} on 127.0.0.1 is in use: stop what listens there, or choose another with --port"
    ]
    service.assert_nothing_left()


def test_a_model_that_is_not_there_is_one_line(fake_service: FakeService) -> None:
    service = fake_service(model="/nonexistent/model")
    assert service.wait_end() == 1
    assert len(service.stderr) == 1
    assert service.stderr[0].startswith("lightllm-rs: /nonexistent/model does not exist")
