"""Bad input: exit code 2, one line that names file and line or the parameter, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.simulate_traces import AZURE, BURSTGPT, MOONCAKE
from lightllm_rs import simulate
from lightllm_rs._core import break_scheduler
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
    ("--set order.bypass_limit=-1", "scheduler.order.bypass_limit", "invalid value"),
    ("--set pages=abc", "scheduler.pages", "invalid type"),
    ("--set seed=5", "--set seed", "--seed"),
    ("--set slots=4 --set slots=5", "--set slots", "twice"),
    ("--kv-cache-tokens 1600 --set pages=5", "--set pages", "flag"),
    ("--policy oracle --set policy=ema", "--set policy", "flag"),
    ("--policy oracle --admission-policy ema", "--policy", "twice"),
    ("--mode chunked --schedule-mode chunked", "--mode", "twice"),
    ("--schedule-mode foo", "scheduler.mode", "--schedule-mode"),
    ("--n 500", "workload.n", "(--n)"),
    ("--image 32:256", "--image", "AFTER:TOKENS:TIME"),
    ("--image 32:0:1ms", "--image", "at least 1"),
    ("--image 32:99999999:1ms", "workload.image", "(--image)"),
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
        ("{table}", "table.json: cost: missing field `prefill_tokens`"),
        ("{absurd}", "absurd.json: cost.ms: is 1e300: it must be"),
        ("{negative}", "negative.json: cost.ms: is -1"),
        ("constant:99999999ms", "--cost constant:99999999ms: cost.ms: is 99999999"),
        ("roofline:{version}", "version.json: cost: "),
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
        "table": '{"version": 1, "kind": "table"}',
        "absurd": '{"version": 1, "kind": "constant", "ms": 1e300}',
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
    assert "--prompt-tokens, --output-tokens or --n" in synthetic


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
    for wrong, parameter in (
        ({}, "setup"),
        ({"workload": 3}, "workload"),
        ({**setup, "bogus": 1}, "bogus"),
        ({**setup, "seed": -1}, "seed"),
        ({**setup, "scheduler": {"order": {"bypass_limit": -1}}}, "scheduler.order.bypass_limit"),
    ):
        with pytest.raises(InputError) as caught:
            simulate.run(wrong)
        assert caught.value.parameter == parameter
        assert str(caught.value).startswith(f"{parameter}: ")


def test_outputs_overwrite_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, cost, link = tmp_path / "trace.csv", tmp_path / "cost.json", tmp_path / "link.csv"
    trace.write_text(AZURE)
    cost.write_text('{"version": 1, "kind": "constant", "ms": 1.0}')
    link.symlink_to(trace)
    for flag in ("--json", "--csv", "--html", "--journal"):
        for target in (trace, link, tmp_path / ".." / tmp_path.name / "trace.csv", cost):
            assert f"{flag}: {target} is read" in refused(capsys, str(trace), "--cost", str(cost), flag, str(target))
    both = str(tmp_path / "both")
    message = refused(capsys, str(trace), "--cost", "constant:20ms", "--csv", both, "--html", both)
    assert f"--html: {both} is written by --csv" in message
    assert trace.read_text() == AZURE
    assert not Path(both).exists()
    assert "is read" in refused(capsys, str(trace), "--cost", f"roofline:{cost}", "--json", str(cost))
    assert main(["simulate", str(trace), "--cost", str(cost), "--csv", "/dev/null", "--html", "/dev/null"]) == 0


def test_setups_overwrite_nothing(tmp_path: Path) -> None:
    trace, earlier, out = (tmp_path / name for name in ("trace.csv", "earlier.csv", "out"))
    trace.write_text(AZURE)
    earlier.write_text(AZURE)
    workload, other = ({"source": {"kind": "azure", "path": str(path)}} for path in (trace, earlier))
    setup = {
        "workload": workload,
        "before": [{"workload": other}],
        "cost": {"version": 1, "kind": "constant", "ms": 1.0},
    }
    for name in ("csv", "journal"):
        for path in (trace, earlier):
            with pytest.raises(InputError, match=f"{name}: .* is read") as caught:
                simulate.run({**setup, name: str(path)})
            assert (caught.value.path, caught.value.parameter) == (str(path), name)
    with pytest.raises(InputError, match="is written as csv already"):
        simulate.run({**setup, "csv": str(out), "journal": str(out)})
    with pytest.raises(InputError, match="is written as csv already"):
        simulate.sweep([{**setup, "csv": str(out)}, {**setup, "csv": str(out)}])
    assert (trace.read_text(), earlier.read_text(), out.exists()) == (AZURE, AZURE, False)
    simulate.run({**setup, "csv": "/dev/null", "journal": "/dev/null"})
    simulate.run({**setup, "csv": str(out)})
    simulate.run({**setup, "csv": str(out)})  # the file of an earlier run


def test_a_trace_that_is_all_refused_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(AZURE)
    flags = [str(path), "--cost", "constant:20ms", "--skip-too-large", "--json", "-"]
    assert main(["simulate", *flags, "--max-model-len", "10"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "lightllm-rs: default: every request was refused, so there are no times to tell\n"
    assert json.loads(shown.out)[0]["refused"]["total"] == 4
    assert main(["simulate", *flags]) == 0
    assert capsys.readouterr().err == ""


def test_a_broken_invariant_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(AZURE)

    def broken(*_: object, **__: object) -> None:
        break_scheduler(None, "made up")

    monkeypatch.setattr("lightllm_rs.simulate.cli.sweep", broken)
    monkeypatch.setattr("lightllm_rs.replay.cli.summary", broken)
    for command in (["simulate", str(path), "--cost", "constant:20ms"], ["replay", str(path)]):
        assert main(command) == 1
        assert capsys.readouterr().err == (
            "lightllm-rs: an invariant does not hold: made up; this is a fault of lightllm-rs, please report it\n"
        )


def test_cells_of_a_sweep_keep_their_own_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(AZURE)
    flags = ["--policy", "past_future", "--set", "policy.reserve=0.1,0.2", "--cost", "constant:20ms", "--json", "-"]
    assert main(["simulate", str(path), *flags]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert [cell["setup"]["scheduler"]["policy"]["reserve"] for cell in cells] == [0.1, 0.2]
