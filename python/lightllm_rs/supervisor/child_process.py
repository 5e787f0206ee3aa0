"""One running child, as the supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from lightllm_rs.messages.control import Phase
from lightllm_rs.process.start import ChildStart
from lightllm_rs.supervisor.output import Output

Command = Callable[[ChildStart], list[str]]
"""The command line that runs a child."""


def default_command(_: ChildStart) -> list[str]:
    """Our own interpreter, without the current directory on its path where it can be left out."""
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe, "-m", "lightllm_rs.process"]


class ChildProcess:
    """Started by its making; must be reaped with `reap` and closed with `close` once its `pidfd` can be read.

    Raises OSError where the system refuses, and leaves nothing behind then.

    Attributes:
        pidfd: readable when it has died.
        spawned: `time.monotonic()` of its start.
        ready: the same of its Ready; None before.
        phases: what it said about its start.
        words: its message of Fatal; "" if it said none.
        doomed: its end is wanted: it was told to stop, or killed by us.
        exit_code: of the dead; negative for a signal.
    """

    def __init__(self, start: ChildStart, command: Command) -> None:
        self.start = start
        self.output = Output()
        self.spawned = time.monotonic()
        self.ready: float | None = None
        self.phases: list[Phase] = []
        self.words = ""
        self.doomed = False
        self.exit_code = 0
        with contextlib.ExitStack() as undo:
            undo.callback(self.output.close)
            try:
                self._process = subprocess.Popen(  # noqa: S603  our own interpreter
                    command(start),
                    stdin=subprocess.PIPE,
                    stdout=self.output.child_end,
                    stderr=self.output.child_end,
                    pass_fds=(start.listen_fd,) if start.listen_fd >= 0 else (),
                )
            finally:
                self.output.started()
            undo.enter_context(self._process)  # closes our end of its standard input and reaps it
            undo.callback(self._process.kill)
            self.pidfd = os.pidfd_open(self._process.pid)
            undo.pop_all()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.msgpack.encode(start))
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has died already; its pidfd says so

    @property
    def name(self) -> str:
        """Its process name."""
        return self.start.process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def engine(self) -> bool:
        """Whether it is the router or a backend; these live and die together."""
        return self.start.package in ("router", "backend")

    def served(self, now: float) -> float:
        """Seconds since it was ready."""
        return 0.0 if self.ready is None else now - self.ready

    def kill(self) -> None:
        """Ends it for certain."""
        self.doomed = True
        with contextlib.suppress(ProcessLookupError):  # reaped already
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> None:
        """Takes in its exit code; call only when it has died."""
        self.exit_code = self._process.wait()

    def close(self) -> None:
        """Passes on what is left of its output and closes what we hold of it."""
        self.output.close()
        os.close(self.pidfd)

    def epitaph(self) -> str:
        """One line on how it ended: its own last words if it had any."""
        code = self.exit_code
        title = self.name.replace("-", " ")
        if self.words:
            return f"{title}: {self.words}"
        if code < 0:
            end = f"{title} was killed by {signal.Signals(-code).name}"
        else:
            end = f"{title} exited with code {code}"
        last = self.output.last_line()
        return f"{end}; its last line: {last}" if last else end
