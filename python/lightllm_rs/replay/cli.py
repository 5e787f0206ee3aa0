"""`lightllm-rs replay`."""

from __future__ import annotations

import sys

from lightllm_rs._core import SchedulerBroken
from lightllm_rs.replay import InputError, Summary, replay, summary

SAME = 0
DIFFERENT = 1
BROKEN = 1
BAD_INPUT = 2


def run(path: str, *, count: bool) -> int:
    """Replays a journal and says what came of it. Returns the exit code."""
    try:
        found = summary(path)
        report = replay(path, count=count)
    except SchedulerBroken as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return BROKEN
    except InputError as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return BAD_INPUT
    print(_figures(found))
    print(f"replayed {report.records} records, {report.steps} plans")
    if report.cut is not None:
        print(f"cut off in line {report.cut}; replayed up to there")
    if report.first is None:
        print("identical: every plan and every refusal came out as recorded")
        return SAME
    counted = f"{report.differences} differences; the first: " if count else "different: "
    print(f"{counted}{report.first}")
    return DIFFERENT


def _figures(found: Summary) -> str:
    ends = ", ".join(
        f"{count} {name}"
        for name, count in (
            ("finished", found["finished"]),
            ("aborted", found["aborted"]),
            ("failed", found["failed"]),
            ("refused", found["refused"]),
            ("unfinished", found["unfinished"]),
        )
        if count
    )
    lines = [
        f"{found['requests']} requests in {found['seconds']:.1f} s ({ends or 'none ended'})",
        f"{found['prompt_tokens']} prompt tokens, {found['cached_tokens']} of them cached; "
        f"{found['output_tokens']} output tokens",
        f"{'ms':>6}{'mean':>12}{'p50':>12}{'p90':>12}{'p99':>12}{'max':>12}",
    ]
    for name, figures in (
        ("queue", found["queue"]),
        ("TTFT", found["ttft"]),
        ("ITL", found["itl"]),
        ("E2E", found["e2e"]),
    ):
        values = (figures["mean"], figures["p50"], figures["p90"], figures["p99"], figures["max"])
        lines.append(f"{name:>6}" + "".join(f"{1e3 * value:12.3f}" for value in values))
    return "\n".join(lines)
