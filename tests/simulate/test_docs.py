"""The examples of docs/simulation.md run as they stand, one after the other in one folder."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.simulate_traces import AZURE
from lightllm_rs.cli import COMMANDS, parser

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "simulation.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples find `trace.csv` and `journal.jsonl`."""
    made = tmp_path_factory.mktemp("docs")
    (made / "trace.csv").write_text(AZURE)
    command = ["simulate", "trace.csv", "--cost", "constant:2ms", "--journal", "journal.jsonl"]
    subprocess.run([sys.executable, "-m", "lightllm_rs", *command], cwd=made, check=True, capture_output=True)
    return made


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_python_examples(number: int, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", blocks("python")[number]], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


COMMAND_LINES = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_commands(line: str, folder: Path) -> None:
    command, _, target = line.partition(" > ")
    name, *arguments = shlex.split(command)
    assert name == "lightllm-rs"
    done = subprocess.run([sys.executable, "-m", "lightllm_rs", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no bar where there is no terminal"
    assert done.stdout
    if target:
        assert len(json.loads(done.stdout)) >= 12
    for flag, file in itertools.pairwise(arguments):
        if flag in ("--json", "--csv", "--html") and file != "-":
            assert (folder / file).stat().st_size > 1000


def test_there_are_examples_of_everything() -> None:
    assert len(blocks("python")) >= 6
    assert len(COMMAND_LINES) >= 8


def test_the_example_of_a_cost_file_is_one(folder: Path) -> None:
    [text] = blocks("json")
    (folder / "cost.json").write_text(text)
    command = ["simulate", "trace.csv", "--cost", "cost.json", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "lightllm_rs", *command], cwd=folder, capture_output=True, text=True, check=True
    )
    [report] = json.loads(done.stdout)
    assert report["itl_ms"]["p50"] == pytest.approx(6.02)


def test_flags_that_are_named_exist() -> None:
    known = {
        option
        for command in COMMANDS
        for action in parser(command)._subparsers._group_actions[0].choices[command]._actions  # type: ignore[union-attr]
        for option in action.option_strings
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", PAGE))
    assert named
    assert named <= known, named - known
