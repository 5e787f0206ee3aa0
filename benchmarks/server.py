"""Starts `lightllm-rs serve` for a benchmark and stops it again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
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


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*flags: str, timeout: float = 600.0, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`lightllm-rs serve FLAGS` on a free port, ready; ended by SIGTERM. It has this process's environment or another.

    Its output goes to a file, and is shown when it does not start.
    """
    port = free_port()
    command = [sys.executable, "-m", "lightllm_rs", "serve", *flags, "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        began = time.perf_counter()
        with log.open("wb") as output:  # a pipe that nobody reads would stop the server once it is full
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while not _answers(port):
                if process.poll() is not None or time.perf_counter() - began > timeout:
                    raise RuntimeError(f"the server did not start:\n{log.read_text()}")
                time.sleep(0.05)
            yield Server("127.0.0.1", port, time.perf_counter() - began, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1).close()
    except OSError:
        return False
    return True
