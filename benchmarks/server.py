"""Starts `lightllm-rs serve` for a benchmark and stops it again."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Server:
    """A running server."""

    host: str
    port: int
    ready_seconds: float
    process: subprocess.Popen[bytes]
    log: Path

    def warnings(self) -> list[str]:
        """Lines of the log that somebody should know of, with what was measured meanwhile."""
        return re.findall(r".*\b(?:WARNING|ERROR|CRITICAL)\b.*", self.log.read_text(errors="replace"))


@contextmanager
def serving(*flags: str, timeout: float = 600.0, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`lightllm-rs serve FLAGS` on any free port, ready; ended by SIGTERM. Its environment is ours, or another.

    Its output goes to a file, and is shown when it does not start.
    """
    command = [sys.executable, "-m", "lightllm_rs", "serve", *flags, "--port", "0"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        began = time.perf_counter()
        with log.open("wb") as output:  # a pipe that nobody reads would stop the server once it is full
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while (ready := re.search(r"Ready at \S+:(\d+)", log.read_text(errors="replace"))) is None:
                if process.poll() is not None or time.perf_counter() - began > timeout:
                    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.05)
            yield Server("127.0.0.1", int(ready[1]), time.perf_counter() - began, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
