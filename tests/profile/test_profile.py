"""`lightllm-rs profile` with the mock backend, whose steps take a known time at least, and on a small model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.tiny_models import make_tiny_model
from lightllm_rs.backend.base import LaunchedStep, Outcome
from lightllm_rs.backend.options import Capacity
from lightllm_rs.cli import main
from lightllm_rs.profile.cost_file import cost_table
from lightllm_rs.profile.grid import Grid, grid_of
from lightllm_rs.profile.measure import Measured, idle_seconds
from lightllm_rs.profile.steps import Steps

STEP_MS, TOKEN_US = 3.0, 40.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def profile(folder: Path, output: Path, *flags: str) -> dict[str, object]:
    sizes = ["--max-num-seqs", "5", "--max-model-len", "256", "--kv-cache-tokens", "1024"]
    budget = ["--max-num-batched-tokens", "128", "--seconds-a-point", "0.001", "--output", str(output)]
    assert main(["profile", str(folder), *sizes, *budget, *flags]) == 0
    found: dict[str, object] = json.loads(output.read_text())
    return found


def test_a_mock_takes_what_it_was_told(folder: Path, tmp_path: Path) -> None:
    flags = ["--backend", "mock", "--mock-step-ms", str(STEP_MS), "--mock-prefill-us", str(TOKEN_US)]
    cost = profile(folder, tmp_path / "cost.json", *flags)
    table = cost["ms"]
    assert isinstance(table, list)
    assert cost["prefill_tokens"] == [0, 16, 64, 128]
    assert cost["decode_rows"] == [0, 1, 2, 4]
    assert cost["context"] == [64, 128]
    for tokens, of_tokens in zip([0, 16, 64, 128], table, strict=True):
        for rows, of_rows in zip([0, 1, 2, 4], of_tokens, strict=True):
            for context, ms in zip([64, 128], of_rows, strict=True):
                # Without rows the context means nothing, and a full step has no room for any.
                measured = 0 < tokens + rows <= 128 and (rows > 0 or context == 64)
                assert (ms is not None) == measured, (tokens, rows, context)
                assert ms is None or ms >= 0.99 * (STEP_MS + tokens * TOKEN_US / 1e3)
    idle_ms = cost["idle_ms"]
    assert isinstance(idle_ms, float)
    assert idle_ms >= 0.0


def test_the_simulator_reads_what_a_real_backend_gave(folder: Path, tmp_path: Path) -> None:
    cost = profile(folder, tmp_path / "cost.json", "--device", "cpu", "--dtype", "float32")
    source = cost["source"]
    assert isinstance(source, dict)
    assert source["dtype"] == "float32"
    arguments = ["--prompt-tokens", "32", "--output-tokens", "8", "--requests", "20", "--rate", "5"]
    report = tmp_path / "report.json"
    assert main(["simulate", *arguments, "--cost", str(tmp_path / "cost.json"), "--json", str(report)]) == 0
    [cell] = json.loads(report.read_text())
    assert cell["finished"] == 20


def test_the_grid_keeps_to_what_there_is_room_for() -> None:
    grid = grid_of(Capacity(pages=64, page_size=16, slots=9, vocab=100, context=4096), 512)
    assert grid.prefill == (0, 16, 64, 256, 512)
    assert grid.rows == (0, 1, 2, 4, 8)
    assert grid.context == (64, 512)


def test_points_stand_where_their_axes_say() -> None:
    grid = Grid((0, 16), (0, 2), (64, 128))
    cost = cost_table(grid, [Measured(16, 2, 128, 0.0125)], 0.0, 1.5, {})
    assert cost["ms"] == [[[None, None], [None, None]], [[None, None], [None, 12.5]]]
    assert cost["idle_ms"] == 1.5


class SlowHost(LaunchedStep):
    """A step of a device that works while the host prepares the next one: 2 ms of the host, then 5 ms of the device."""

    clock = 0.0
    free = 0.0

    def __init__(self) -> None:
        SlowHost.clock += 2e-3
        self.end = SlowHost.free = max(SlowHost.clock, SlowHost.free) + 5e-3

    def outcome(self) -> Outcome:
        SlowHost.clock = max(SlowHost.clock, self.end)
        return Outcome(np.zeros(0, np.int64), np.zeros(0, np.int64), [])

    def remaining(self) -> float:
        return self.end - SlowHost.clock


def test_what_the_host_does_shows_on_an_idle_device(monkeypatch: pytest.MonkeyPatch) -> None:
    capacity = Capacity(pages=64, page_size=16, slots=4, vocab=100, context=512)
    backend = SimpleNamespace(capacity=capacity, launch=lambda plan: SlowHost())
    monkeypatch.setattr(time, "perf_counter", lambda: SlowHost.clock)
    assert idle_seconds(Steps(backend), 256, 0.1) == pytest.approx(2e-3, abs=1e-4)  # type: ignore[arg-type]


def test_more_ranks_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(folder), "--tp", "2", "--device", "cpu"]) == 2
    assert "leave --tp at 1" in capsys.readouterr().err
