"""`lightllm-rs bench latency`, `throughput` and `startup` with the mock backend, and with a tiny model on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.tiny_models import make_tiny_model
from lightllm_rs.bench.startup import phases_of
from lightllm_rs.cli import main

STEP_MS = 3.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


MOCK = ["--backend", "mock", "--mock-step-ms", str(STEP_MS)]


def test_a_batch_takes_its_steps(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--input-len", "20", "--output-len", "10", "--batch-size", "4", "--num-iters-warmup", "1"]
    out = tmp_path / "latency.json"
    assert main(["bench", "latency", str(folder), *MOCK, *sizes, "--num-iters", "3", "--output-json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert len(found["latencies"]) == 3
    assert min(found["latencies"]) >= 10 * STEP_MS / 1e3
    assert found["percentiles"]["10"] <= found["percentiles"]["99"]
    assert "Avg latency:" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [MOCK, ["--device", "cpu", "--dtype", "float32", "--threads", "1"]])
def test_all_requests_get_all_tokens(folder: Path, tmp_path: Path, flags: list[str]) -> None:
    sizes = ["--random-input-len", "40", "--random-output-len", "6", "--num-prompts", "20"]
    room = ["--max-num-seqs", "8", "--max-queued-requests", "2", "--kv-cache-tokens", "2048"]
    out = tmp_path / "throughput.json"
    command = ["bench", "throughput", str(folder), *flags, *sizes, *room, "--output-json", str(out)]
    assert main(command) == 0
    found = json.loads(out.read_text())
    assert (found["num_requests"], found["total_output_tokens"]) == (20, 120)
    assert found["total_num_tokens"] == found["total_input_tokens"] + 120
    assert found["output_tokens_per_second"] == pytest.approx(120 / found["elapsed_time"])


def test_what_cannot_start_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "latency", str(folder / "nowhere"), *MOCK]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["bench", "latency", str(folder), *MOCK, "--input-len", "500", "--output-len", "100"]) == 1
    assert "more than the context" in capsys.readouterr().err
    flags = ["--device", "cpu", "--kv-cache-tokens", str(2**31 - 1)]
    assert main(["bench", "throughput", str(folder), *flags, "--num-prompts", "1"]) == 1
    assert "backend-0: a KV cache of 2147483647 tokens does not fit" in capsys.readouterr().err
    assert main(["bench", "latency", "--batch-size", "0"]) == 2
    assert main(["bench", "throughput", "--page-size", "24"]) == 2
    assert main(["bench", "fly"]) == 2


def test_starts_are_timed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "startup.json"
    flags = ["--num-iters", "2", "--cold", "--output-json", str(out), "--", str(folder), *MOCK]
    assert main(["bench", "startup", *flags]) == 0
    found = json.loads(out.read_text())
    assert len(found["ready_seconds"]) == 2
    assert found["cold"] is True
    assert {"router", "backend-0", "backend-0 mock", "http-0"} <= set(found["median_phases"])
    assert max(found["median_phases"].values()) <= max(found["ready_seconds"])
    capsys.readouterr()
    assert main(["bench", "startup", "--", str(folder / "nowhere")]) == 1
    assert "the server did not start:" in capsys.readouterr().err


def test_the_start_table_is_read() -> None:
    text = (
        "lightllm-rs 0.1.0: loading tiny on cuda\n"
        "  process       ready at   phases (s)\n"
        "  health          0.52 s\n"
        "  backend-0      14.68 s   imports 4.10, kv cache 0.10 (1,024 tokens, 0.5 GiB (of 80.0)), graphs 6.20 (65)\n"
        "\n"
        "Ready at http://127.0.0.1:1 after 14.9 s. Try:\n"
    )
    assert phases_of(text) == {
        "health": 0.52,
        "backend-0": 14.68,
        "backend-0 imports": 4.10,
        "backend-0 kv cache": 0.10,
        "backend-0 graphs": 6.20,
    }
