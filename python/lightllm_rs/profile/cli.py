"""`lightllm-rs profile`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from lightllm_rs import __version__
from lightllm_rs.backend.base import ModelBackend
from lightllm_rs.backend.errors import BackendError
from lightllm_rs.process.start import ChildStart
from lightllm_rs.profile.backend import opened
from lightllm_rs.profile.cost_file import cost_table
from lightllm_rs.profile.grid import grid_of
from lightllm_rs.profile.measure import idle_seconds, measure, prefill_context_seconds
from lightllm_rs.profile.steps import Steps
from lightllm_rs.profile.timeline import TraceError, read_timeline
from lightllm_rs.profile.timeline_table import NAMES, table
from lightllm_rs.profile.trace import DEFAULT_SHAPES, TRACE_STEPS, Shape, Tracer, shapes_of
from lightllm_rs.settings import ServeSettings
from lightllm_rs.settings.checks import step_range
from lightllm_rs.supervisor.errors import ServiceError


def run(settings: ServeSettings, output: str | None, seconds_a_point: float, trace_shapes: str) -> int:
    """Writes the cost model, or with `--trace-dir` traces, or both. Returns the exit code. Raises SettingsError.

    Args:
        output: file of the cost model; "-" is standard output, and so is None if there are no traces to write.
    """
    shapes = shapes_of(trace_shapes)
    try:
        with opened(settings, _phase) as (backend, start):
            if settings.trace_dir is not None:
                _write_traces(backend, start, shapes, sys.stderr if output == "-" else sys.stdout)
                if output is None:
                    return 0
            document = _document(backend, start, seconds_a_point)
    except (ServiceError, BackendError, TraceError) as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return 1
    _write(document, output or "-")
    return 0


def show(paths: Sequence[str], names: int) -> int:
    """`lightllm-rs trace`: prints what the devices did. Returns the exit code."""
    for path in paths:
        try:
            print(table(path, read_timeline(Path(path)), names))
        except TraceError as error:
            print(f"lightllm-rs: {error}", file=sys.stderr)
            return 1
    return 0


def _write_traces(backend: ModelBackend, start: ChildStart, shapes: Sequence[Shape], out: TextIO) -> None:
    settings = start.settings
    assert settings.trace_dir is not None
    first, last = step_range(settings.trace_steps or TRACE_STEPS)
    tracer = Tracer(backend, settings.max_num_batched_tokens, start.device)
    for shape in shapes:
        found = tracer.record(shape, first, last, Path(settings.trace_dir) / f"{shape.name}.json")
        print(table(f"{shape.name}, {last - first} steps", found), file=out, flush=True)


def _write(document: dict[str, object], output: str) -> None:
    text = json.dumps(document) + "\n"
    if output == "-":
        sys.stdout.write(text)
    else:
        Path(output).write_text(text, encoding="utf-8")


def _document(backend: ModelBackend, start: ChildStart, seconds_a_point: float) -> dict[str, object]:
    step_tokens = start.settings.max_num_batched_tokens
    grid = grid_of(backend.capacity, step_tokens)
    steps = Steps(backend)
    measured = measure(steps, grid, step_tokens, seconds_a_point, _progress)
    context_ms = prefill_context_seconds(steps, step_tokens, seconds_a_point) * 1e3
    idle_ms = idle_seconds(steps, step_tokens, seconds_a_point) * 1e3
    source = {
        "model": start.model_name,
        "device": _device_name(start),
        "dtype": _dtype_name(backend),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "lightllm_rs": __version__,
    }
    return cost_table(grid, measured, context_ms, idle_ms, source)


def _device_name(start: ChildStart) -> str:
    if start.settings.backend == "mock":
        return f"mock, {start.settings.mock_step_ms} ms a step, {start.settings.mock_prefill_us} us a prefill token"
    if start.device == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name()


def _dtype_name(backend: ModelBackend) -> str:
    return str(getattr(backend, "dtype", "none")).removeprefix("torch.")


def _phase(name: str, seconds: float, detail: str) -> None:
    print(f"{name:>10} {seconds:6.1f} s  {detail}".rstrip(), file=sys.stderr)


def _progress(done: int, points: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {points} points", end="" if done < points else "\n", file=sys.stderr, flush=True)


def add_own_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `serve` does not have."""
    group = parser.add_argument_group("Profile")
    group.add_argument(
        "--output",
        metavar="FILE",
        help="file of the cost model; - is standard output [default -; with --trace-dir none is made]",
    )
    group.add_argument(
        "--trace-shapes",
        metavar="A,B",
        default=DEFAULT_SHAPES,
        help="with --trace-dir: steps to record, each ROWSxCONTEXT, ROWSxCONTEXT+PREFILL or +PREFILL "
        f"[default {DEFAULT_SHAPES}]",
    )
    group.add_argument(
        "--seconds-a-point",
        type=_seconds,
        metavar="X",
        default=0.2,
        help="time for the steps of one kind; three are timed at least [default 0.2]",
    )


def add_show_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `lightllm-rs trace`."""
    parser.add_argument("traces", nargs="+", metavar="FILE", help="Chrome trace of torch's profiler, also .gz")
    parser.add_argument("--names", type=int, default=NAMES, metavar="N", help=f"kernels to name [default {NAMES}]")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and at most 600")
    return value
