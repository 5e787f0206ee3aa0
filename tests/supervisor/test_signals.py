"""Which signals ask for the end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from lightllm_rs.supervisor.signals import SignalPipe, interrupt_on_signals
signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1]))
interrupt_on_signals()
pipe = SignalPipe()
os.kill(os.getpid(), signal.SIGHUP)
os.kill(os.getpid(), signal.SIGTERM)
print(pipe.take())
"""


@pytest.mark.parametrize(("before", "taken"), [(signal.SIG_DFL, 2), (signal.SIG_IGN, 1)])
def test_nohup_means_that_the_end_of_a_terminal_is_not_the_end(before: signal.Handlers, taken: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, before.name], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, str(taken)), done.stderr
