"""Numbers without an end, pipes in and out, and policies that the scheduler would refuse."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lightllm_rs.cli import main
from lightllm_rs.simulate import InputError, run

BASE = ["simulate", "--requests", "5", "--prompt-tokens", "50", "--output-tokens", "4", "--rate", "5"]
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"


@pytest.mark.parametrize(
    ("flag", "blamed"),
    [
        ("--deadline=1e308s", "--deadline"),
        ("--policy=aggressive:watermark=nan", "--policy"),
        ("--cost=constant:1e308s", "--cost constant:1e308s"),
    ],
)
def test_numbers_without_an_end(flag: str, blamed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "--cost", "constant:20ms", flag]) == 2
    assert blamed in capsys.readouterr().err


def test_numbers_without_an_end_from_python() -> None:
    lengths = {"kind": "constant", "tokens": 5}
    source = {"kind": "synthetic", "prompt": lengths, "output": lengths}
    cost = {"version": 1, "kind": "constant", "ms": math.inf}
    with pytest.raises(InputError, match=r"cost\.ms: is inf: give a finite number"):
        run({"workload": {"source": source}, "cost": cost})


def test_a_policy_by_its_name_in_set() -> None:
    assert main([*BASE, "--cost", "constant:20ms", "--set", "policy=oracle"]) == 0


def test_a_pipe_needs_its_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main(["simulate", str(pipe), "--cost", "constant:20ms"]) == 2
    assert "--format" in capsys.readouterr().err
    writer = threading.Thread(target=pipe.write_text, args=(TRACE,))
    writer.start()
    assert main(["simulate", str(pipe), "--format", "azure", "--cost", "constant:20ms"]) == 0
    writer.join()


@pytest.mark.parametrize("target", [[], ["--json", "-"]])
def test_an_output_that_nobody_takes(target: list[str]) -> None:
    command = [sys.executable, "-m", "lightllm_rs", *BASE, "--cost", "constant:20ms", *target]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=200)
    assert done.returncode == 1
    assert done.stderr == "lightllm-rs: the output could not be written: No space left on device\n"


@pytest.mark.parametrize("parameters", ["window=-1", "x=1"])
def test_serve_refuses_a_policy_before_anything_starts(parameters: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--backend", "mock", "--admission-policy", "forecast", "--admission-parameters", parameters]
    assert main(["serve", *arguments]) == 2
    assert "--admission-policy forecast" in capsys.readouterr().err
