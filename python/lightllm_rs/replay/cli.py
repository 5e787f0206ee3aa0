"""`lightllm-rs replay`."""

from __future__ import annotations

import sys

from lightllm_rs.replay import InputError, replay

SAME = 0
DIFFERENT = 1
BAD_INPUT = 2


def run(path: str, *, count: bool) -> int:
    """Replays a journal and says what came of it. Returns the exit code."""
    try:
        report = replay(path, count=count)
    except InputError as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return BAD_INPUT
    print(f"{path}: {report.records} records, {report.steps} plans")
    if report.cut is not None:
        print(f"cut off in line {report.cut}; replayed up to there")
    if report.first is None:
        print("identical: every plan and every refusal came out as recorded")
        return SAME
    counted = f"{report.differences} differences; the first: " if count else "different: "
    print(f"{counted}{report.first}")
    return DIFFERENT
