"""The first steps of every child, and its last ones."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import signal
import sys
import traceback

import msgspec
import setproctitle

from lightllm_rs.messages.sockets import close_context
from lightllm_rs.process.child import Child, StartError
from lightllm_rs.process.start import ChildStart

_PR_SET_PDEATHSIG = 1


def end_with_parent(supervisor: int) -> None:
    """Has the kernel kill this process when its parent dies; exits at once if that has happened already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != supervisor:
        sys.exit(1)


def ignore_signals() -> None:
    """The supervisor alone decides what a signal means; Ctrl-C reaches every process of the terminal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def read_start() -> ChildStart:
    """Reads standard input to its end, and leaves /dev/null there."""
    data = sys.stdin.buffer.read()
    if not data:
        sys.exit("lightllm-rs: this module is started by the supervisor; use `lightllm-rs serve`")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return msgspec.msgpack.decode(data, type=ChildStart)


def main() -> int:
    """Runs one child until it ends. Returns the exit code."""
    ignore_signals()
    start = read_start()
    end_with_parent(start.supervisor)
    setproctitle.setproctitle(start.title)
    setproctitle.setthreadtitle(start.comm)
    logging.basicConfig(
        level=start.settings.log_level.upper(), format=f"%(asctime)s {start.process} %(levelname)s %(message)s"
    )
    child = Child(start)
    try:
        importlib.import_module(f"lightllm_rs.{start.package}.main").run(child)
        code = 0
    except StartError as error:
        child.fatal(" ".join(str(error).split()))
        code = 1
    except Exception as error:  # the traceback is for the log; the supervisor gets one line
        traceback.print_exc()
        child.fatal(f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000])
        code = 1
    child.close()
    close_context()
    return code
