"""`lightllm-rs bench startup`: seconds from the command to a server that is ready, and where they go."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lightllm_rs.bench.errors import BenchError

_READY = re.compile(r"Ready at (\S+) after ([0-9.]+) s")
_PROCESS = re.compile(r"  (\S+) +([0-9.]+) s *(.*)")
_PHASE = re.compile(r"([a-z][a-z ]*?) ([0-9.]+)(?= \(|,|$)")
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.02
SHOWN_LINES = 15


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        ready: seconds until `/ready` said yes.
        own: seconds as the server says; without Python's own start.
        phases: seconds by "process phase", and until each process was ready, by "process".
    """

    ready: float
    own: float
    phases: dict[str, float]


def run(parsed: argparse.Namespace, flags: list[str]) -> int:
    """Starts `serve` with these flags again and again, and prints medians. Returns the exit code. Raises BenchError."""
    starts = []
    for number in range(parsed.num_iters):
        with ExitStack() as undo:
            environment = dict(os.environ)
            if parsed.cold:
                folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="bench-startup-"))
                environment |= {"TRITON_CACHE_DIR": folder}
            start = one_start(flags, environment, parsed.start_seconds)
        starts.append(start)
        print(f"start {number + 1} of {parsed.num_iters}: ready after {start.ready:.2f} s", file=sys.stderr)
    result = {
        "cold": parsed.cold,
        "ready_seconds": [start.ready for start in starts],
        "median_ready_seconds": statistics.median(start.ready for start in starts),
        "median_phases": {
            name: statistics.median(start.phases[name] for start in starts if name in start.phases)
            for name in dict.fromkeys(name for start in starts for name in start.phases)
        },
    }
    kind = "empty cache of compiled kernels" if parsed.cold else "caches as they are"
    print(f"ready after {result['median_ready_seconds']:.2f} s (median of {len(starts)}, {kind})")
    for name, seconds in sorted(result["median_phases"].items()):
        print(f"  {name:<32} {seconds:8.2f} s")
    if parsed.output_json is not None:
        Path(parsed.output_json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"saved as {parsed.output_json}", file=sys.stderr)
    return 0


def one_start(flags: list[str], environment: dict[str, str], seconds: float) -> Start:
    """Starts a server on any free port, waits for `/ready`, and ends it. Raises BenchError if it does not start."""
    command = [sys.executable, "-m", "lightllm_rs", "serve", *flags, "--port", "0"]
    with tempfile.TemporaryFile("w+b") as out:  # a pipe that nobody reads would stop the server once it is full
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)  # noqa: S603
        try:
            while True:
                text = _text(out.fileno())
                found = _READY.search(text)
                if found is not None and _says_ready(found[1]):
                    return Start(time.perf_counter() - began, float(found[2]), phases_of(text))
                if process.poll() is not None or time.perf_counter() - began > seconds:
                    tail = "\n".join(text.splitlines()[-SHOWN_LINES:])
                    raise BenchError(f"the server did not start:\n{tail}")
                time.sleep(LOOK_SECONDS)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def phases_of(text: str) -> dict[str, float]:
    """The start table of a server: seconds by "process phase", and until a process was ready by "process"."""
    found: dict[str, float] = {}
    in_table = False
    for line in text.splitlines():
        if line.startswith("  process ") and "phases (s)" in line:
            in_table = True
        elif in_table:
            match = _PROCESS.fullmatch(line)
            if match is None:
                break
            name, ready, phases = match.groups()
            found[name] = float(ready)
            found |= {f"{name} {phase}": float(seconds) for phase, seconds in _PHASE.findall(_bare(phases))}
    return found


def _bare(phases: str) -> str:
    """Without the details in parentheses, which may hold commas and numbers."""
    depth, kept = 0, []
    for letter in phases:
        depth += letter == "("
        if not depth:
            kept.append(letter)
        depth -= letter == ")"
    return re.sub(r" +(?=,|$)", "", "".join(kept))


def _text(fd: int) -> str:
    return os.pread(fd, 1 << 20, 0).decode(errors="replace")


def _says_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5):  # noqa: S310  our own server
            return True
    except (urllib.error.URLError, OSError):
        return False
