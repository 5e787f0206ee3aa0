"""Bad input: exit code 2, one line that names file and line or the parameter, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.simulate_traces import AZURE, BURSTGPT, MOONCAKE
from lightllm_rs import simulate
from lightllm_rs.cli import main
from lightllm_rs.simulate import InputError

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = "2023-11-16 18:15:46.68,374,44\n"
BURST_HEAD = BURSTGPT.splitlines()[0] + "\n"
BLOCK = json.dumps(MOONCAKE[0]) + "\n"

TRACES = {
    "missing column": ("TIMESTAMP,ContextTokens\n2023-11-16 18:15:46.68,374\n", 1, "GeneratedTokens"),
    "negative length": (HEAD + ROW + "2023-11-16 18:15:47.68,-374,44\n", 3, "from 1 to"),
    "absurd length": (HEAD + "2023-11-16 18:15:46.68,374,99999999999\n", 2, "from 1 to"),
    "length that is no number": (HEAD + ROW + ROW + "2023-11-16 18:15:46.68,many,4\n", 4, "whole number"),
    "bad time": (HEAD + "yesterday,374,4\n", 2, "TIMESTAMP"),
    "unsorted times": (HEAD + ROW + "2023-11-16 18:15:45.00,3,4\n", 3, "sort"),
    "too few fields": (HEAD + ROW + "2023-11-16 18:15:46.68,3\n", 3, ""),
    "no request": (HEAD, None, "no request"),
    "empty file": ("", None, "empty"),
    "unknown format": ("a;b;c\n1;2;3\n", 1, "--format"),
    "broken JSON": (BLOCK + BLOCK + '{"timestamp": 1, "input\n', 3, ""),
    "JSON of another kind": (BLOCK + "[1, 2]\n", 2, ""),
    "JSON with a missing field": (BLOCK + '{"timestamp": 1, "input_length": 5}\n', 2, ""),
    "JSON with a negative length": (BLOCK + BLOCK.replace("1100", "-1100"), 2, ""),
    "JSON with unsorted times": (BLOCK.replace('"timestamp": 0', '"timestamp": 9') + BLOCK, 2, "sort"),
    "BurstGPT without a column": ("Timestamp,Model,Request tokens\n5,ChatGPT,472\n", 1, ""),
    "BurstGPT with a bad time": (BURST_HEAD + "-5,ChatGPT,472,18,490,API log\n", 2, ""),
    "bytes that are no text": ("\x00\x01\x02\n", 1, "--format"),
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that `lightllm-rs simulate ARGUMENTS` ends with."""
    assert main(["simulate", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("lightllm-rs: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.mark.parametrize("name", TRACES)
def test_traces(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, line, hint = TRACES[name]
    path = tmp_path / "trace"
    path.write_text(text)
    message = refused(capsys, str(path), "--cost", "constant:20ms")
    assert (f"{path}:{line}: " if line else f"{path}: ") in message
    assert hint in message


def test_lines_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(HEAD.encode() + ROW.encode() + b"\xff\xfe,1,2\n")
    assert f"{path}:3: " in refused(capsys, str(path), "--cost", "constant:20ms")
    path.write_bytes(HEAD.encode() + b"1" * (1 << 22))
    assert f"{path}:2: " in refused(capsys, str(path), "--cost", "constant:20ms")


PARAMETERS = [
    ("--policy bogus", "bogus", "conservative, aggressive"),
    ("--policy past_future:reserve=9", "reserve", "0.5"),
    ("--policy past_future:=9", "--policy", "KEY=VALUE"),
    ("--policy past_future,", "--policy", "empty part"),
    ("--mode fast", "fast", "chunked"),
    ("--eviction-policy random", "random", "lru"),
    ("--set pagse=4", "pagse", "page_size"),
    ("--set pages", "--set", "KEY=VALUE"),
    ("--set pages=0", "pages", "at least 1"),
    ("--set order.bypass=1", "bypass", "bypass_limit"),
    ("--rate 0", "--rate", "above 0"),
    ("--rate nan", "--rate", "above 0"),
    ("--rate -1", "--rate", ""),
    ("--requests 0", "--requests", "at least 1"),
    ("--seed -1", "--seed", ""),
    ("--slo-ttft soon", "--slo-ttft", "500ms"),
    ("--kv-cache-tokens 3", "--kv-cache-tokens", "16"),
    ("--prompt-tokens 100", "--prompt-tokens", "leave it out"),
    ("--block-tokens 4", "--block-tokens", "mooncake"),
    ("--arrivals sometimes", "--arrivals", "poisson"),
    ("--capacity 120000", "--capacity", "--kv-cache-tokens"),
    ("--json /nowhere/at/all.json", "/nowhere/at/all.json", "folder"),
    ("--preset bogus", "bogus", "past-future-paper"),
    ("--format parquet", "parquet", "azure"),
    ("--bogus", "--bogus", "--help"),
]


@pytest.mark.parametrize(("flags", "name", "hint"), PARAMETERS)
def test_parameters(flags: str, name: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(AZURE)
    message = refused(capsys, str(path), "--cost", "constant:20ms", *flags.split())
    assert name in message
    assert hint in message


@pytest.mark.parametrize(
    ("cost", "hint"),
    [
        ("constant:fast", "500ms"),
        ("constant:-1ms", "above 0"),
        ("nothing.json", "No such file"),
        ("{broken}", ":2: "),
        ("{list}", "object"),
        ("{version}", "version"),
        ("{kind}", "constant"),
        ("{negative}", "from 0"),
        ("roofline:{list}", "object"),
        ("roofline:{version}", "num_hidden_layers"),
        ("roofline:{config}:tpu", "h100"),
        ("roofline:{config}:bandwidth=3", "bandwidth_gbs"),
    ],
)
def test_cost_models(cost: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(AZURE)
    files = {
        "broken": '{"version": 1,\n"kind": ',
        "list": "[1]",
        "version": '{"version": 99, "kind": "constant", "ms": 1.0}',
        "kind": '{"version": 1, "kind": "magic"}',
        "negative": '{"version": 1, "kind": "constant", "ms": -1.0}',
        "config": '{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, '
        '"vocab_size": 100}',
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        cost = cost.replace("{" + name + "}", str(path))
    assert hint in refused(capsys, str(trace), "--cost", cost)


def test_requests_that_can_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEAD + ROW + "2023-11-16 18:15:47.68,4000,10\n" + ROW.replace(":46", ":48"))
    flags = [str(path), "--cost", "constant:20ms"]
    message = refused(capsys, *flags, "--kv-cache-tokens", "1600")
    assert f"{path}:3: " in message
    assert "the cache has 100" in message
    assert f"{path}:3: " in refused(capsys, *flags, "--max-model-len", "4009")
    assert main(["simulate", *flags, "--kv-cache-tokens", "1600", "--skip-too-large", "--json", "-"]) == 0
    [report] = json.loads(capsys.readouterr().out)
    assert (report["finished"], report["refused"]["pool"]) == (2, 1)
    lengths = ["--prompt-tokens", "100", "--output-tokens", "100", "--rate", "1", "--requests", "3"]
    synthetic = refused(capsys, *lengths, "--cost", "constant:20ms", "--kv-cache-tokens", "160")
    assert "workload.source" in synthetic


def test_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(AZURE)
    assert "--cost is missing" in refused(capsys, str(path))
    assert "--prompt-tokens" in refused(capsys, "--cost", "constant:20ms", "--rate", "1")
    lengths = ["--prompt-tokens", "10", "--output-tokens", "10", "--cost", "constant:20ms"]
    assert "--rate is missing" in refused(capsys, *lengths)
    assert "requests" in refused(capsys, *lengths, "--rate", "1")
    assert "No such file" in refused(capsys, str(tmp_path / "none"), "--cost", "constant:20ms")
    assert "Is a directory" in refused(capsys, str(tmp_path), "--cost", "constant:20ms")


def test_errors_have_attributes(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEAD + "yesterday,1,1\n")
    setup = {
        "workload": {"source": {"kind": "azure", "path": str(path)}},
        "cost": {"version": 1, "kind": "constant", "ms": 1.0},
    }
    with pytest.raises(InputError) as caught:
        simulate.run(setup)
    assert (caught.value.path, caught.value.line, caught.value.parameter) == (str(path), 2, None)
    path.write_text(AZURE)
    with pytest.raises(InputError) as caught:
        simulate.run({**setup, "slo": {"ttft_ms": -1.0}})
    assert (caught.value.path, caught.value.parameter) == (None, "slo.ttft_ms")
    for wrong in ({}, {"workload": 3}, {**setup, "bogus": 1}, {**setup, "seed": -1}):
        with pytest.raises(InputError, match="the setup"):
            simulate.run(wrong)
