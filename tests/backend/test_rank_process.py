"""A rank as a real process with real sockets, against a router and a supervisor played by the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.fake_supervisor import FakeSupervisor
from helpers.plan_driver import Driver
from helpers.tiny_models import make_tiny_model
from lightllm_rs.backend.mock import MockBackend
from lightllm_rs.backend.mock_tokens import mock_text
from lightllm_rs.backend.options import Capacity
from lightllm_rs.messages.frames import PROTOCOL, unpack_u32
from lightllm_rs.messages.sockets import Hub, endpoint
from lightllm_rs.messages.steps import RankHello, RankStop, StepResult
from lightllm_rs.messages.telemetry import Heartbeat, Report, health_decoder, metrics_decoder

PROMPT = [5, 6, 7, 8, 9, 10, 11]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def mock_rank(tmp_path: Path, model: Path) -> Iterator[FakeSupervisor]:
    with FakeSupervisor(tmp_path, model, backend="mock", kv_cache_tokens=2048, max_num_seqs=8) as supervisor:
        supervisor.start_rank(0)
        yield supervisor


def greeted(supervisor: FakeSupervisor) -> Driver:
    """Waits for the hello; a driver whose plans fit the rank."""
    supervisor.wait_ready()
    rank, hello = supervisor.receive()
    assert rank == 0
    assert isinstance(hello, RankHello)
    assert hello.protocol == PROTOCOL
    backend = MockBackend()
    backend.open(Capacity(hello.pages, hello.page_size, hello.slots, hello.vocab, hello.context))
    return Driver(backend)


def test_plans_in_results_out(mock_rank: FakeSupervisor) -> None:
    driver = greeted(mock_rank)
    assert driver.backend.capacity == Capacity(128, 16, 8, 384, 512)
    driver.attach(2, PROMPT)
    driver.prefill(2)
    tokens = []
    for step in range(6):
        mock_rank.send(0, driver.message()[0])
        if step == 0:  # the second plan does not wait for the first result
            driver.decode(2)
            mock_rank.send(0, driver.message()[0])
        driver.decode(2)
        _, result = mock_rank.receive()
        assert isinstance(result, StepResult)
        assert result.step == step
        assert list(unpack_u32(result.rows)) == [0]
        assert list(unpack_u32(result.counts)) == [1]
        tokens += unpack_u32(result.tokens).tolist()
    assert tokens == mock_text(PROMPT, 6, 384)
    mock_rank.send(0, RankStop())
    assert mock_rank.children[0].wait(60) == 0


def test_stop_of_the_supervisor_and_random_bytes(mock_rank: FakeSupervisor) -> None:
    greeted(mock_rank)
    mock_rank.plans.send(b"rank-0", b"\x93\xff garbage")
    mock_rank.control.send(b"backend-0", b"\xc1")
    mock_rank.stop(0)
    assert mock_rank.children[0].wait(60) == 0


def test_heartbeats_and_figures(mock_rank: FakeSupervisor) -> None:
    run_dir = mock_rank.run_dir
    health, metrics = Hub(endpoint(run_dir, "health")), Hub(endpoint(run_dir, "metrics"))
    try:
        driver = greeted(mock_rank)
        driver.attach(0, PROMPT)
        driver.prefill(0)
        mock_rank.plans.send(b"rank-0", b"\xc1")
        mock_rank.send(0, driver.message()[0])
        mock_rank.receive()
        beats, bad_frames = [], 0.0
        while not (beats and beats[-1].progress == 1 and bad_frames == 1):
            received = health.receive(60_000)
            assert received is not None, f"no heartbeat; so far {beats} and {bad_frames} bad frames"
            beats.append(health_decoder.decode(received[1]))
            received = metrics.receive(60_000)
            assert received is not None
            report = metrics_decoder.decode(received[1])
            assert isinstance(report, Report)
            assert report.process == "backend-0"
            assert report.cpu_seconds > 0
            bad_frames += sum(sample.value for sample in report.samples if sample.name == "lightllm_bad_frames_total")
        assert all(isinstance(beat, Heartbeat) and beat.process == "backend-0" for beat in beats)
    finally:
        health.close()
        metrics.close()


def test_a_plan_out_of_order_ends_the_process(mock_rank: FakeSupervisor) -> None:
    driver = greeted(mock_rank)
    mock_rank.send(0, driver.message()[0])
    driver.message()
    mock_rank.send(0, driver.message()[0])
    assert "step 2 came where step 1 was due" in mock_rank.last_words()
    assert mock_rank.children[0].wait(60) == 1


def test_a_cache_that_does_not_fit_is_one_line(tmp_path: Path, model: Path) -> None:
    with FakeSupervisor(tmp_path, model, kv_cache_tokens=2**31 - 1, threads=1) as supervisor:
        child = supervisor.start_rank(0)
        words = supervisor.last_words()
        assert "a KV cache of 2147483647 tokens does not fit" in words
        assert words.endswith("lower --kv-cache-tokens")
        assert child.wait(60) == 1


def test_truncated_weights_are_one_line(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with FakeSupervisor(tmp_path, folder, threads=1) as supervisor:
        child = supervisor.start_rank(0)
        words = supervisor.last_words()
        assert "model.safetensors" in words
        assert "\n" not in words
        assert child.wait(60) == 1


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path, tmp_path / "nowhere", backend="mock") as supervisor:
        child = supervisor.start_rank(0)
        assert "nowhere" in supervisor.last_words()
        assert child.wait(60) == 1
