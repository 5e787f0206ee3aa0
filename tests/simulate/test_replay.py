"""A journal of a live service comes out the same again, and a changed one does not."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import httpx
import pytest

from lightllm_rs.cli import main
from lightllm_rs.replay import InputError, replay, summary
from server import serving

SECRET = "the password is swordfish, as everybody knows"


async def traffic(url: str) -> None:
    """Requests of many kinds at once, and clients that leave."""
    draw = random.Random(5)
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=200, limits=limits) as client:

        async def one(number: int) -> None:
            prefix = [7] * 40 if number % 3 == 0 else [draw.randrange(3, 300) for _ in range(20)]
            leaves = number % 7 == 2  # long before it has its tokens
            body = {
                "prompt": SECRET if number == 0 else [*prefix, *(draw.randrange(3, 300) for _ in range(number % 9))],
                "max_tokens": 75 if leaves else draw.randrange(1, 40),
                "ignore_eos": number % 2 == 0,
                "priority": number % 4,
                "user": f"user {number % 3}",
                "n": 3 if number % 10 == 1 else 1,
                "stream": True,
            }
            await asyncio.sleep(draw.random() * 0.5)
            async with client.stream("POST", "/v1/completions", json=body) as response:
                assert response.status_code == 200, await response.aread()
                lines = 0
                async for _ in response.aiter_lines():
                    lines += 1
                    if leaves and lines > 4:
                        return

        await asyncio.gather(*(one(number) for number in range(60)))


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    flags = ("--kv-cache-tokens", "512", "--page-size", "4", "--max-num-seqs", "8", "--max-model-len", "128")
    with serving("--backend", "mock", "--mock-step-ms", "10", "--journal", str(path), *flags) as server:
        asyncio.run(traffic(f"http://{server.host}:{server.port}"))
    return path


def test_what_was_served_is_decided_again(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = replay(journal)
    assert report.identical, report.first
    assert report.cut is None
    assert report.steps > 50
    kinds = {next(iter(json.loads(line))) for line in journal.read_text().splitlines()[1:]}
    assert {"add", "schedule", "update", "abort"} <= kinds
    assert main(["replay", str(journal)]) == 0
    shown = capsys.readouterr()
    assert f"{report.records} records, {report.steps} plans" in shown.out
    assert "identical" in shown.out
    figures = summary(journal)
    assert f"{figures['requests']} requests in" in shown.out
    assert figures["requests"] == 60 + 2 * 6, "and the siblings of each tenth"
    assert figures["finished"] + figures["aborted"] == figures["requests"]
    assert figures["aborted"] >= 1
    assert figures["cached_tokens"] > 0
    assert 0.01 <= figures["ttft"]["p50"] < figures["e2e"]["p99"]


def test_a_journal_is_a_trace_too(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = tmp_path / "again.jsonl"
    flags = ["simulate", str(journal), "--cost", "constant:2ms", "--page-size", "4", "--journal", str(again)]
    assert main([*flags, "--json", "-"]) == 0
    [report] = json.loads(capsys.readouterr().out)
    figures = summary(journal)
    assert report["refused"]["total"] == 0
    assert figures["finished"] <= report["finished"] <= figures["requests"]
    assert report["prefix_hit_rate"] > 0
    assert replay(again).identical, "what was simulated is decided again"
    assert summary(again)["finished"] == report["finished"]


def test_prompts_are_not_in_it(journal: Path) -> None:
    text = journal.read_text()
    assert "swordfish" not in text
    assert "[7,7,7" not in text.replace(" ", "")


def test_a_cut_off_journal_is_replayed_up_to_the_cut(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = journal.read_bytes()
    path = tmp_path / "cut.jsonl"
    lines = 1 + whole.count(b"\n", 0, len(whole) // 2)
    path.write_bytes(whole[: len(whole) // 2])
    report = replay(path)
    assert report.identical
    assert report.cut == lines
    assert main(["replay", str(path)]) == 0
    assert f"cut off in line {lines}" in capsys.readouterr().out


def test_a_changed_plan_is_found(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = journal.read_text().splitlines()
    plans = [
        number for number, line in enumerate(lines) if '"digest"' in line and json.loads(line)["schedule"].get("digest")
    ]
    changed = plans[len(plans) // 2]
    record = json.loads(lines[changed])
    digest = int(record["schedule"]["digest"], 16) ^ 1
    record["schedule"]["digest"] = f"{digest:016x}"
    path = tmp_path / "changed.jsonl"
    path.write_text("\n".join([*lines[:changed], json.dumps(record), *lines[changed + 1 :]]) + "\n")
    report = replay(path)
    assert not report.identical
    assert report.differences == 1
    assert report.first is not None
    assert (report.first.line, report.first.step) == (changed + 1, record["schedule"]["step"])
    assert main(["replay", str(path)]) == 1
    assert f"different: line {changed + 1}, step {record['schedule']['step']}: " in capsys.readouterr().out
    assert main(["replay", str(path), "--count"]) == 1
    assert "1 differences; the first: " in capsys.readouterr().out


def test_bad_journals_are_refused(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = journal.read_text().splitlines()
    path = tmp_path / "bad.jsonl"
    cases = {
        "": f"{path}",
        "hello\n": f"{path}",
        '{"journal": 99}\n': f"{path}",
        "\n".join([*lines[:5], "{broken", *lines[5:9]]) + "\n": f"{path}:6: ",
        "\n".join([*lines[:3], '{"add": {"now": -1}}', *lines[3:9]]) + "\n": f"{path}:4: ",
    }
    for text, place in cases.items():
        path.write_text(text)
        assert main(["replay", str(path)]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("lightllm-rs: ")
        assert place in shown.err
        assert "Traceback" not in shown.err
    assert main(["replay", str(tmp_path / "nothing")]) == 2
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(InputError) as caught:
        replay(tmp_path / "nothing")
    assert caught.value.path == str(tmp_path / "nothing")
    with pytest.raises(TypeError):
        replay(3)  # type: ignore[arg-type]
