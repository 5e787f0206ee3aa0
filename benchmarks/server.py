"""Starts `lightllm-rs serve` for a benchmark and stops it again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Server:
    """A running server."""

    host: str
    port: int
    ready_seconds: float
    process: subprocess.Popen[str]


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*flags: str, timeout: float = 600.0) -> Iterator[Server]:
    """`lightllm-rs serve FLAGS` on a free port, ready; ended by SIGTERM. Its output is shown when it fails."""
    port = free_port()
    command = [sys.executable, "-m", "lightllm_rs", "serve", *flags, "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        while True:
            if process.poll() is not None or time.perf_counter() - began > timeout:
                process.kill()
                raise RuntimeError(f"the server did not start:\n{process.communicate()[0]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        yield Server("127.0.0.1", port, time.perf_counter() - began, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
