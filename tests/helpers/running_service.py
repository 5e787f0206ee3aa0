"""A service in processes of its own, as a user runs it, and what must hold when it is gone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

from lightllm_rs.supervisor.run_dir import ARENA_PREFIX, PREFIX

PATIENCE_SECONDS = 180.0
ARENA_PREFIXES = (ARENA_PREFIX, f"test-{ARENA_PREFIX}")


class RunningService:
    """Starts `command` and collects its output. On leaving the context whatever is left is killed.

    Args:
        command: a command line that runs a supervisor.
        base: directory for its run directory; short, and of this service alone.
    """

    def __init__(self, command: list[str], base: Path, environment: dict[str, str] | None = None) -> None:
        self.base = base
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LIGHTLLM_")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean | {"XDG_RUNTIME_DIR": str(base), "PYTHONWARNINGS": "default"} | (environment or {}),
        )
        self._shared_memory = set(os.listdir("/dev/shm"))
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._readers = [self._read(self.process.stdout, self.stdout), self._read(self.process.stderr, self.stderr)]
        self.seen: set[psutil.Process] = set()
        self._arenas: set[str] = set()  # what names of its arenas begin with

    def _read(self, pipe: IO[str] | None, lines: list[str]) -> threading.Thread:
        assert pipe is not None

        def collect() -> None:
            for line in pipe:
                lines.append(line.rstrip("\n"))

        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        return thread

    def __enter__(self) -> RunningService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.children()
        for process in [self.process, *self.seen]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(timeout=PATIENCE_SECONDS)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def wait_ready(self) -> str:
        """The service's URL, once it says that it is ready."""
        found = self.wait_for(lambda: next(filter(None, (re.match(r"Ready at (\S+) ", x) for x in self.stdout)), None))
        self.children()
        return found.group(1)

    def wait_for(self, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> re.Match[str]:
        """Waits until `condition` gives something; fails with the output if the service ends before."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"in vain, exit code {self.process.poll()}:\n" + "\n".join(self.stderr[-40:]))
            time.sleep(0.01)
        return found  # type: ignore[return-value]

    def children(self) -> dict[str, psutil.Process]:
        """The living children by process name ("http-0"), told by their titles or short names."""
        found = {}
        self._arenas |= {f"{ARENA_PREFIX}{path.name.removeprefix(PREFIX)}-" for path in self.base.glob(PREFIX + "*")}
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        self.seen.update(children)
        for child in children:
            try:
                line = child.cmdline()  # asked once: it is empty from the moment when a process ends
                match = re.match(r"lightllm-rs: (\w+)(?: (\d+))?$", line[0] if line else "")
            except psutil.Error:
                continue
            if match:
                found["-".join(filter(None, match.groups()))] = child
        return found

    def kill(self, name: str) -> int:
        """Ends the child `name` with SIGKILL. Returns its process id."""
        pid = self.children()[name].pid
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """The child `name` does nothing meanwhile: what waits for it waits, however slow the machine is."""
        child = self.children()[name]
        child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            child.send_signal(signal.SIGCONT)

    def restarted(self, name: str, former: int) -> Callable[[], bool]:
        """Whether a new process has this name."""
        return lambda: self.children().get(name, psutil.Process()).pid not in (former, os.getpid())

    def end(self, number: int = signal.SIGTERM, seconds: float = PATIENCE_SECONDS) -> int:
        """Sends a signal and waits for the end. Returns the exit code."""
        self.children()
        self.process.send_signal(number)
        return self.wait_end(seconds)

    def wait_end(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code, once it ends."""
        code = self.process.wait(timeout=seconds)
        for reader in self._readers:
            reader.join(timeout=PATIENCE_SECONDS)
        return code

    def assert_nothing_left(self, seconds: float = 0.0) -> None:
        """No process, run directory or shared memory of the service is there, after at most `seconds`."""
        self.assert_processes_end(seconds)
        if seconds == 0.0:
            assert list(self.base.iterdir()) == []
        left = set(os.listdir("/dev/shm")) - self._shared_memory
        others = {name for name in left if name.startswith(ARENA_PREFIXES) and not name.startswith(tuple(self._arenas))}
        assert left <= others  # services of other test runs come and go

    def assert_processes_end(self, seconds: float) -> None:
        """No process of the service runs after at most `seconds`."""
        deadline = time.monotonic() + seconds
        while any(map(runs, self.seen)):
            assert time.monotonic() < deadline, f"still running: {[process for process in self.seen if runs(process)]}"
            time.sleep(0.02)


def runs(process: psutil.Process) -> bool:
    """Whether it does; it may end between two questions."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def serve_command(*arguments: str) -> list[str]:
    """`lightllm-rs serve` with these arguments, on any free port."""
    return [sys.executable, "-m", "lightllm_rs", "serve", "--port", "0", *arguments]
