"""Signals as something to read."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from lightllm_rs.supervisor.errors import Interrupted

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Python writes the signal's number into the pipe; there is nothing else to do."""


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number).name)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    """For all that ask for the end. SIGHUP stays ignored where it is: somebody started the service with nohup."""
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def interrupt_on_signals() -> None:
    """Until there is something to stop, a signal raises Interrupted in the main thread."""
    _handle(_interrupt)


class SignalPipe:
    """From its making on, signals that ask for the end make `fd` readable and do nothing else."""

    def __init__(self) -> None:
        self.fd, self._writing = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._writing, False)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        _handle(_nothing)

    def take(self) -> int:
        """How many have arrived since the last call."""
        try:
            return sum(number in ENDING for number in os.read(self.fd, 1024))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Signals are ignored from now on: the process is about to exit with the code that it has settled on."""
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self.fd)
        os.close(self._writing)
