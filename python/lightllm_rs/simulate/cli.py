"""`lightllm-rs simulate`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lightllm_rs._core import SchedulerBroken, SchedulerError
from lightllm_rs.simulate import presets
from lightllm_rs.simulate.blame import blame
from lightllm_rs.simulate.cost import cost_file
from lightllm_rs.simulate.engine import sweep
from lightllm_rs.simulate.errors import InputError, input_error
from lightllm_rs.simulate.files import check_targets, join_csv, write_json, write_text
from lightllm_rs.simulate.flags import flags_given
from lightllm_rs.simulate.page import page
from lightllm_rs.simulate.progress import Bar
from lightllm_rs.simulate.reports import Report, Setup
from lightllm_rs.simulate.setups import setups_of
from lightllm_rs.simulate.table import preset_table, table

BROKEN = 1
BAD_INPUT = 2
INTERRUPTED = 130

PRESET_FLAGS = {"preset", "capacity", "policy", "seed", "json"}


def run(parsed: argparse.Namespace) -> int:
    """Simulates what the flags say, and writes what they ask for. Returns the exit code."""
    try:
        _check_files(parsed)
        if parsed.preset is not None:
            _preset(parsed)
        else:
            _sweep(parsed)
    except SchedulerBroken as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return BROKEN
    except (InputError, SchedulerError) as error:
        print(f"lightllm-rs: {blame(error, parsed)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("lightllm-rs: stopped", file=sys.stderr)
        return INTERRUPTED
    return 0


def _check_files(parsed: argparse.Namespace) -> None:
    inputs = [] if parsed.trace is None else [Path(parsed.trace)]
    cost = None if parsed.cost is None else cost_file(parsed.cost)
    if cost is not None:
        inputs.append(cost)
    check_targets({flag: getattr(parsed, flag) for flag in ("json", "csv", "html", "journal")}, inputs)


def _preset(parsed: argparse.Namespace) -> None:
    if parsed.preset != presets.PAST_FUTURE_PAPER:
        message = f"--preset: there is no {parsed.preset!r}: take {presets.PAST_FUTURE_PAPER}"
        raise input_error(message, parameter="preset")
    for name in flags_given(parsed):
        if name not in PRESET_FLAGS:
            flag = "TRACE" if name == "trace" else f"--{name.replace('_', '-')}"
            raise input_error(f"{flag} says nothing to a preset: leave it out", parameter=name)
    rows = presets.past_future_paper(
        seeds=parsed.seed or [1],
        capacity=parsed.capacity or 120_000,
        policies=None if parsed.policy is None else [presets.policy_of(policy) for policy in parsed.policy],
    )
    if parsed.json != "-":
        print(preset_table(rows))
    if parsed.json is not None:
        write_json(parsed.json, rows)


def _sweep(parsed: argparse.Namespace) -> None:
    if parsed.capacity is not None:
        raise input_error("--capacity is for presets: use --kv-cache-tokens", parameter="capacity")
    setups = setups_of(parsed)
    with tempfile.TemporaryDirectory(prefix="lightllm-rs-simulate-") as folder:
        if parsed.csv is not None:
            for number, setup in enumerate(setups):
                setup["csv"] = str(Path(folder) / f"{number}.csv")
        reports = _simulated(setups, parsed.jobs)
        if parsed.csv is not None:
            parts = [(setup["name"], Path(setup.pop("csv"))) for setup in setups]
            join_csv(Path(parsed.csv), parts)
    for report in reports:
        if report["arrived"] and not report["finished"]:
            text = f"{report['name']}: every request was refused, so there are no times to tell"
            print(f"lightllm-rs: {text}", file=sys.stderr)
    if parsed.json != "-":
        print(table(reports))
    if parsed.json is not None:
        write_json(parsed.json, [{**report, "setup": setup} for report, setup in zip(reports, setups, strict=True)])
    if parsed.html is not None:
        write_text(Path(parsed.html), page(reports, setups))


def _simulated(setups: list[Setup], jobs: int | None) -> list[Report]:
    bar = Bar(len(setups))
    try:
        return sweep(setups, jobs=jobs, progress=bar)
    finally:
        bar.clear()
