"""`lightllm-rs bench serve` against a real service with the mock backend."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.tiny_models import make_tiny_model
from lightllm_rs.cli import main
from server import Server, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(str(folder), "--backend", "mock", "--mock-step-ms", "4", "--max-num-seqs", "16") as running:
        yield running


def bench(server: Server, folder: Path, *flags: str) -> int:
    where = ["--port", str(server.port), "--tokenizer", str(folder)]
    sizes = ["--random-input-len", "40", "--random-output-len", "8", "--num-prompts", "12"]
    return main(["bench", "serve", *where, *sizes, *flags])


@pytest.mark.parametrize("flags", [[], ["--processes", "2"], ["--backend", "openai-chat"], ["--request-rate", "200"]])
def test_every_request_gets_its_tokens(server: Server, folder: Path, tmp_path: Path, flags: list[str]) -> None:
    out = ["--result-dir", str(tmp_path), "--result-filename", "r.json", "--save-detailed", "--max-concurrency", "5"]
    assert bench(server, folder, "--ignore-eos", "--goodput", "ttft:60000", "e2el:60000", *out, *flags) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["completed"], found["failed"], found["num_prompts"]) == (12, 0, 12)
    assert found["output_lens"] == [8] * 12
    assert found["total_output_tokens"] == 96
    assert found["total_input_tokens"] == sum(found["input_lens"])
    if "openai-chat" not in flags:
        assert all(abs(length - 40) <= 2 for length in found["input_lens"])  # not each length has a text
    assert found["errors"] == [""] * 12
    assert all(0 < seconds < 60 for seconds in found["ttfts"])
    assert found["output_throughput"] == pytest.approx(96 / found["duration"])
    assert found["request_goodput"] == pytest.approx(found["request_throughput"])
    # The mock takes 4 ms a step: no client can have seen the last of 8 tokens earlier than 7 steps after the first.
    assert found["mean_tpot_ms"] > 0
    assert found["p99_e2el_ms"] >= found["median_e2el_ms"] >= 8 * 4


def test_a_sweep_is_a_list_and_a_plot(
    server: Server, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--result-dir", str(tmp_path), "--result-filename", "r.json", "--plot", str(tmp_path / "p.svg")]
    assert bench(server, folder, "--max-concurrency", "1,4", "--metric-percentiles", "50,90", *out) == 0
    points = json.loads((tmp_path / "r.json").read_text())
    assert [point["max_concurrency"] for point in points] == [1, 4]
    assert points[0]["seed"] != points[1]["seed"]
    assert all(point["output_throughput"] > 0 for point in points)
    assert "p90_itl_ms" in points[0]
    shown = capsys.readouterr().out
    assert shown.count("Serving Benchmark Result") == 2
    assert "TTFT p90" in shown
    drawing = ElementTree.parse(tmp_path / "p.svg").getroot()
    assert len(drawing.findall("{http://www.w3.org/2000/svg}svg")) == 5
    assert bench(server, folder, "--plot", str(tmp_path / "one.svg")) == 0
    assert len(ElementTree.parse(tmp_path / "one.svg").getroot().findall("{http://www.w3.org/2000/svg}svg")) == 4


def test_datasets_of_files(server: Server, folder: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"prompt": "The quick brown fox", "output_tokens": 3}\n\n{"prompt": "A dog"}\n')
    talks = tmp_path / "talks.json"
    turns = [{"from": "human", "value": "Why is the sea salty?"}, {"from": "gpt", "value": "Rivers carry salt."}]
    talks.write_text(json.dumps([{"conversations": turns}, {"conversations": turns[:1]}]))
    out = ["--result-dir", str(tmp_path), "--result-filename", "r.json", "--save-detailed", "--ignore-eos"]
    flags = ["--dataset-name", "custom", "--dataset-path", str(lines), "--custom-output-len", "5"]
    assert bench(server, folder, *out, *flags, "--num-prompts", "3", "--num-warmups", "0") == 0
    assert json.loads((tmp_path / "r.json").read_text())["output_lens"] == [3, 5, 3]
    flags = ["--dataset-name", "sharegpt", "--dataset-path", str(talks)]
    assert bench(server, folder, *out, *flags, "--sharegpt-output-len", "6", "--num-prompts", "2") == 0
    assert json.loads((tmp_path / "r.json").read_text())["output_lens"] == [6, 6]


def test_failures_are_counted_and_said(
    server: Server, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert bench(server, folder, "--model", "no-such-model") == 1
    assert "the first request failed: status 404" in capsys.readouterr().err
    assert bench(server, folder, "--extra-body", '{"max_tokens": -1}', "--num-warmups", "0") == 1
    assert "no request succeeded; the first error: status 4" in capsys.readouterr().err
    assert bench(server, folder, "--request-timeout", "0.000001", "--num-warmups", "0") == 1
    assert "no answer within" in capsys.readouterr().err
    out = ["--result-dir", str(tmp_path), "--result-filename", "r.json"]
    lines = tmp_path / "lines.jsonl"  # the second is longer than the context
    lines.write_text('{"prompt": "short"}\n' + json.dumps({"prompt": "long " * 900}) + "\n")
    flags = ["--dataset-name", "custom", "--dataset-path", str(lines), "--num-prompts", "2", "--num-warmups", "0"]
    assert bench(server, folder, *flags, "--custom-output-len", "4", *out) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["completed"], found["failed"]) == (1, 1)
    assert "1 failed: status 400" in capsys.readouterr().err


def test_no_server_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "serve", "--port", "1", "--tokenizer", str(folder)]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_a_key_comes_from_the_environment(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIGHTLLM_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(str(folder), "--backend", "mock", "--api-key", "sesame") as closed:
        assert bench(closed, folder) == 1
        assert "answers with status 401: set LIGHTLLM_API_KEY" in capsys.readouterr().err
        monkeypatch.setenv("OPENAI_API_KEY", "sesame")
        assert bench(closed, folder) == 0
