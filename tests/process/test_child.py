"""A child's first and last steps, and what it sends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from lightllm_rs.messages.control import ChildHello, Fatal, Phase, Ready, Stop, child_decoder
from lightllm_rs.messages.frames import PROTOCOL, encode
from lightllm_rs.messages.sockets import Hub, endpoint
from lightllm_rs.messages.telemetry import Heartbeat, Observations, Report, Sample, health_decoder, metrics_decoder
from lightllm_rs.process.start import ChildStart
from lightllm_rs.process.telemetry import MAX_VALUES, Telemetry
from lightllm_rs.settings import ServeSettings

WAIT_MS = 60_000


def start_of(process: str, run_dir: Path, **changes: object) -> ChildStart:
    start = ChildStart(
        process=process,
        run_dir=str(run_dir),
        settings=ServeSettings(),
        model_path="/nonexistent",
        model_name="tiny",
        device="cpu",
        supervisor=os.getpid(),
    )
    return msgspec.structs.replace(start, **changes)


def run_child(start: ChildStart | None) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-m", "lightllm_rs.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert child.stdin is not None
    child.stdin.write(b"" if start is None else msgspec.msgpack.encode(start))
    child.stdin.close()
    child.stdin = None
    return child


def next_message(hub: Hub) -> tuple[bytes, object]:
    received = hub.receive(WAIT_MS)
    assert received is not None
    return received[0], child_decoder.decode(received[1])


@pytest.mark.parametrize(
    ("process", "title", "comm", "package"),
    [
        ("http-0", "lightllm-rs: http 0", "llrs-http-0", "http"),
        ("router", "lightllm-rs: router", "llrs-router", "router"),
        ("backend-12", "lightllm-rs: backend 12", "llrs-backend-12", "backend"),
        ("metric", "lightllm-rs: metric", "llrs-metric", "metric"),
    ],
)
def test_names(tmp_path: Path, process: str, title: str, comm: str, package: str) -> None:
    start = start_of(process, tmp_path)
    assert (start.title, start.comm, start.package) == (title, comm, package)
    assert len(start.comm) <= 15


def test_a_start_survives_the_wire(tmp_path: Path) -> None:
    settings = ServeSettings(allowed_origins=("https://a",), api_key="k", ssl_keyfile=None, mem_fraction=1)
    start = start_of("http-0", tmp_path, settings=settings, listen_fd=5)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(start), type=ChildStart) == start


def test_life_of_a_child(tmp_path: Path) -> None:
    hub = Hub(endpoint(tmp_path, "control"))
    child = run_child(start_of("metric", tmp_path))
    identity, hello = next_message(hub)
    assert identity == b"metric"
    assert hello == ChildHello(PROTOCOL, "metric", child.pid)
    assert next_message(hub)[1] == Ready()
    assert psutil.Process(child.pid).cmdline()[0] == "lightllm-rs: metric"
    for number in (2, 15):  # the supervisor alone decides what signals mean
        os.kill(child.pid, number)
    time.sleep(0.1)
    assert child.poll() is None
    hub.send(identity, encode(Stop()))
    output, _ = child.communicate(timeout=60)
    assert (child.returncode, output) == (0, b"")
    hub.close()


def test_last_words_reach_the_supervisor(tmp_path: Path) -> None:
    hub = Hub(endpoint(tmp_path, "control"))
    child = run_child(start_of("backend-0", tmp_path, rank=0, settings=ServeSettings(backend="mock")))
    messages = [next_message(hub)[1]]
    while not isinstance(messages[-1], Fatal):
        messages.append(next_message(hub)[1])
        assert isinstance(messages[-1], (Fatal, Phase))
    assert isinstance(messages[-1], Fatal)
    assert "/nonexistent" in messages[-1].message
    assert "\n" not in messages[-1].message
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 1
    assert b"Traceback" not in output
    hub.close()


def test_nobody_else_starts_it() -> None:
    child = run_child(None)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 1
    assert b"use `lightllm-rs serve`" in output


def test_a_child_of_a_dead_supervisor_ends_at_once(tmp_path: Path) -> None:
    child = run_child(start_of("metric", tmp_path, supervisor=1 if os.getppid() != 1 else 2))
    child.communicate(timeout=60)
    assert child.returncode == 1


def test_figures_are_sent_once_and_gauges_again(tmp_path: Path) -> None:
    health, metrics = Hub(endpoint(tmp_path, "health")), Hub(endpoint(tmp_path, "metrics"))
    telemetry = Telemetry(start_of("http-0", tmp_path))
    telemetry.add("request_count")
    telemetry.add("request_count", 2.0)
    telemetry.add("lightllm_rejections_total", 1.0, ("queue_full",))
    telemetry.gauge("queue_size", 5.0)
    telemetry.observe("request_duration", 0.5)
    telemetry.observe("request_duration", 0.25)
    telemetry.flush()
    telemetry.flush()
    telemetry.heartbeat(busy=True, progress=7, full=True)
    reports = []
    for _ in range(2):
        received = metrics.receive(WAIT_MS)
        assert received is not None
        reports.append(metrics_decoder.decode(received[1]))
    first, second = reports
    assert isinstance(first, Report)
    assert isinstance(second, Report)
    assert first.samples == [
        Sample("request_count", 3.0),
        Sample("lightllm_rejections_total", 1.0, ["queue_full"]),
        Sample("queue_size", 5.0),
    ]
    assert first.observations == [Observations("request_duration", [0.5, 0.25])]
    assert (second.samples, second.observations) == ([Sample("queue_size", 5.0)], [])
    assert 0 < first.cpu_seconds <= second.cpu_seconds
    received = health.receive(WAIT_MS)
    assert received is not None
    assert health_decoder.decode(received[1]) == Heartbeat("http-0", True, 7, True)
    for socket in (telemetry, health, metrics):
        socket.close()


def test_values_nobody_takes_are_bounded(tmp_path: Path) -> None:
    hub = Hub(endpoint(tmp_path, "metrics"))
    telemetry = Telemetry(start_of("http-0", tmp_path))
    for _ in range(MAX_VALUES + 10):
        telemetry.observe("request_duration", 1.0)
    telemetry.flush()
    received = hub.receive(WAIT_MS)
    assert received is not None
    report = metrics_decoder.decode(received[1])
    assert isinstance(report, Report)
    assert len(report.observations[0].values) == MAX_VALUES
    telemetry.close()
    hub.close()
