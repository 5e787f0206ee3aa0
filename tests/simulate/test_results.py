"""What is written: table, JSON, CSV, HTML; the same seed gives the same; a bar only on a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from helpers.simulate_traces import written
from lightllm_rs import simulate
from lightllm_rs.cli import main
from lightllm_rs.simulate.plots import linear, logarithmic, nice
from lightllm_rs.simulate.progress import Bar

SYNTHETIC = [
    *("simulate", "--cost", "constant:20ms", "--prompt-tokens", "lognormal:300:0.8", "--output-tokens", "uniform:5:60"),
    *("--rate", "10", "--requests", "200"),
]


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints; nothing on standard error, since that is no terminal."""
    assert main([*SYNTHETIC, *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def rows(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)
    return found


def test_a_sweep_is_a_line_for_each_cell(capsys: pytest.CaptureFixture[str]) -> None:
    table = shown(capsys, "--policy", "aggressive,past_future:reserve=0.1", "--rate", "5,10", "--mode", "chunked")
    head, rule, *lines = table.splitlines()
    assert head.split()[:3] == ["cell", "done", "refused"]
    assert set(rule) == {"-", " "}
    assert [line.split("  ")[0] for line in lines] == [
        "aggressive, rate 5",
        "aggressive, rate 10",
        "past_future:reserve=0.1, rate 5",
        "past_future:reserve=0.1, rate 10",
    ]
    assert all(" 200 " in line for line in lines)


def test_json_on_standard_output_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    [report] = rows(shown(capsys, "--json", "-", "--slo-ttft", "1s", "--slo-itl", "30"))
    assert report["finished"] == 200
    assert report["setup"]["slo"] == {"ttft_ms": 1000.0, "itl_ms": 30.0}
    assert report["goodput"]["requests"] == 200
    for times in ("ttft_ms", "itl_ms", "tpot_ms", "e2e_ms", "queue_ms"):
        summary = report[times]
        assert 0 <= summary["p50"] <= summary["p90"] <= summary["p99"] <= summary["max"]
        assert report["cdf"][times] == sorted(report["cdf"][times])
    again = {key: value for key, value in report.items() if key != "setup"}
    assert simulate.run(report["setup"]) == again, "the setup that is shown is the one that was simulated"


def test_the_same_seed_gives_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["--policy", "past_future,ema", "--seed", "1,2", "--json", "-", "--kv-cache-tokens", "4000"]
    first = shown(capsys, *sweep, "--jobs", "1")
    assert shown(capsys, *sweep, "--jobs", "2") == first
    one, two, *_ = rows(first)
    assert one["seed"] == 1
    assert two["seed"] == 2
    assert one["ttft_ms"] != two["ttft_ms"]


def test_csv_has_a_line_for_each_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "requests.csv"
    shown(capsys, "--csv", str(path), "--policy", "aggressive,conservative")
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["cell"] for line in lines] == ["aggressive"] * 200 + ["conservative"] * 200
    assert all(line["outcome"] == "finished" and float(line["ttft_ms"]) >= 20 for line in lines)
    assert {int(line["request"]) for line in lines} == set(range(200))


class Page:
    """A page, read as XML: it is written so that both kinds of readers take it."""

    def __init__(self, text: str) -> None:
        self.text = text
        body = text.removeprefix("<!DOCTYPE html>\n")
        self.root = ElementTree.fromstring(body)


def test_the_page_is_complete_in_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.html"
    shown(capsys, "--html", str(path), "--policy", "aggressive,conservative", "--rate", "5,20")
    page = Page(path.read_text())
    assert not re.search(r"<script|<link|<img|<iframe|https?:|@import|url\(", page.text)
    charts = [svg for svg in page.root.iter("svg") if svg.find("text") is not None]
    titles = [chart.findtext("text") for chart in charts]
    assert titles[:4] == [
        "Time to the first token",
        "Time between tokens",
        "Time to the last token",
        "Time in the queue",
    ]
    assert titles[4:] == ["Running", "Queued", "KV cache: held (blue), cached (green), %"] * 4
    for chart in charts:
        drawn = chart.findall("polyline")
        assert drawn
        for line in drawn:
            numbers = [float(number) for number in re.split("[ ,]", line.attrib["points"]) if number]
            assert all(-1 <= x <= 461 for x in numbers[::2])
            assert all(-1 <= y <= 241 for y in numbers[1::2])
    assert len(page.root.findall(".//tbody/tr")) == 4


def test_names_are_escaped() -> None:
    report = simulate.run(
        {
            "name": "<script>alert('&')</script>",
            "workload": {
                "source": {
                    "kind": "synthetic",
                    "prompt": {"kind": "constant", "tokens": 10},
                    "output": {"kind": "constant", "tokens": 5},
                },
                "arrivals": {"kind": "at_once"},
            },
            "cost": {"version": 1, "kind": "constant", "ms": 1.0},
            "limits": {"requests": 3},
        }
    )
    page = simulate.page([report], [{"<b>": "</pre><script>"}])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    Page(page)


def test_a_simulation_without_requests_served_has_a_page(tmp_path: Path) -> None:
    path, _ = written(tmp_path)["azure"]
    setup = {
        "workload": {"source": {"kind": "azure", "path": str(path)}, "deadline_ms": 1e-6},
        "cost": {"version": 1, "kind": "constant", "ms": 10.0},
        "scheduler": {"order": {"refuse_late": True}},
    }
    report = simulate.run(setup)
    assert report["finished"] < 4
    Page(simulate.page([report]))
    assert simulate.table([report]).count("\n") == 2


@pytest.mark.parametrize("values", [[0.0], [1e-9], [3.0, 7.0], [1e12], [], [0.5, 1e6], [9.999], [1.0]])
def test_axes_hold_their_values(values: list[float]) -> None:
    for axis in (linear("x", values), logarithmic("x", values)):
        ticks = axis.ticks()
        assert len(ticks) >= 2
        assert ticks == sorted(ticks)
        assert all(-1e-9 <= axis.place(value) <= 1 + 1e-9 for value in [*values, *ticks])
    assert nice(0.3) == pytest.approx(0.5)


def test_a_bar_is_drawn_on_a_terminal_only(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    bar = Bar(2, terminal)
    bar(0, 0.5, 100, 1.0)
    bar(1, 1.0, 200, 2.0)
    assert " 75 %  1 of 2 cells  300 requests" in terminal.getvalue()
    bar.clear()
    assert terminal.getvalue().endswith("\r\x1b[K")

    path, _ = written(tmp_path)["azure"]
    command = [sys.executable, "-m", "lightllm_rs", "simulate", str(path), "--cost", "constant:20ms"]
    ours, theirs = pty.openpty()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    drawn = os.read(ours, 1 << 16)
    os.close(ours)
    assert b"1 of 1 cells" in drawn
    assert b"cells" not in done.stdout


def test_progress_can_stop_it() -> None:
    calls = []

    def stop(*news: object) -> None:
        calls.append(news)
        raise KeyboardInterrupt

    setup = {
        "workload": {
            "source": {
                "kind": "synthetic",
                "prompt": {"kind": "constant", "tokens": 100},
                "output": {"kind": "constant", "tokens": 100},
            },
            "arrivals": {"kind": "poisson"},
            "rate": 1.0,
        },
        "cost": {"version": 1, "kind": "constant", "ms": 1.0},
        "limits": {"requests": 1_000_000_000},
    }
    with pytest.raises(KeyboardInterrupt):
        simulate.run(setup, progress=stop)
    assert len(calls) == 1
    index, done, requests, seconds = calls[0]
    assert index == 0
    assert 0 <= done < 1
    assert requests >= 1
    assert seconds >= 0
