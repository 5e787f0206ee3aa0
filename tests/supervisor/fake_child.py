"""A child that behaves as its arguments say: `python fake_child.py BEHAVIOUR...`, in place of `lightllm_rs.process`.

Behaviours, in the order given: "words TEXT" (Fatal, exit 1), "exit CODE", "once FILE" (exit 1 if the file is there,
otherwise make it), "print TEXT", "notice TEXT" (Notice), "holds BYTES" (Holds), "measures" (asks MayMeasure and waits
for Measure), "arena" (makes one), "mute" (never ready), "wrong-protocol", "deaf" (does not hear Stop), "busy" (HTTP:
never drained). An HTTP process answers each connection with the engine's state and the cache manager's, as the
supervisor told it, and in a second line all states so far; it prints what it is told of images.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import threading
import time
from pathlib import Path

import setproctitle

from lightllm_rs.messages.control import (
    CacheDown,
    CacheUp,
    ChildHello,
    Drain,
    EngineDown,
    EngineUp,
    Holds,
    ImagesDown,
    ImagesUp,
    MayMeasure,
    Measure,
    Notice,
    Stop,
)
from lightllm_rs.messages.frames import encode
from lightllm_rs.process.child import Child
from lightllm_rs.process.entry import end_with_parent, ignore_signals, read_start
from lightllm_rs.supervisor.run_dir import ARENAS, arena_name


class Port:
    """The HTTP side: one line a connection."""

    def __init__(self, fd: int) -> None:
        self.states = ["no engine yet"]
        self.cache = ""
        self._listener = socket.socket(fileno=fd)
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.sendall(f"{self.states[-1]}{self.cache}\n{'; '.join(self.states)}\n".encode())


def behave(child: Child, behaviour: str, value: str) -> None:
    """Carries out one behaviour that belongs to the start."""
    if behaviour == "words":
        child.fatal(value)
        child.close()
        sys.exit(1)
    if behaviour == "exit":
        os._exit(int(value))
    if behaviour == "once":
        if Path(value).exists():
            child.fatal("not again")
            child.close()
            sys.exit(1)
        Path(value).touch()
    if behaviour == "notice":
        child.open_control().send(encode(Notice(value)))
    if behaviour == "print":
        print(value, flush=True)
    if behaviour == "holds":
        child.open_control().send(encode(Holds(int(value))))
    if behaviour == "measures":
        child.open_control().send(encode(MayMeasure()))
        answer = child.receive(None)
        assert isinstance(answer, Measure)
        child.phase("measured", 0.0, f"{answer.bytes} bytes for images, {answer.missing} missing")
    if behaviour == "arena":
        arena = ARENAS / arena_name(Path(child.start.run_dir), child.start.epoch)
        # Locked for as long as this process lives, or a real cache manager that starts beside it would remove it.
        fcntl.flock(os.open(arena, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), fcntl.LOCK_EX)
    if behaviour == "wrong-protocol":
        child.open_control().send(encode(ChildHello(999, child.start.process, os.getpid())))
        time.sleep(60)


def main() -> None:
    ignore_signals()
    start = read_start()
    end_with_parent(start.supervisor)
    setproctitle.setproctitle(start.title)
    child = Child(start)
    behaviours = dict(argument.partition(" ")[::2] for argument in sys.argv[1:])
    child.open_control()
    for behaviour, value in behaviours.items():
        behave(child, behaviour, value)
    port = Port(start.listen_fd) if start.listen_fd >= 0 else None
    if "mute" not in behaviours:
        child.phase("fake", 0.25, "nothing to load")
        child.ready()
    while True:
        message = child.receive(None)
        if isinstance(message, EngineUp) and port:
            port.states.append(f"up {message.epoch}")
        if isinstance(message, EngineDown) and port:
            port.states.append(f"down because {message.reason}")
        if isinstance(message, CacheUp) and port:
            port.cache = f" {Path(message.endpoint).name}"
        if isinstance(message, CacheDown) and port:
            port.cache = " no cache"
        if isinstance(message, ImagesDown | ImagesUp) and port:
            print("images down" if isinstance(message, ImagesDown) else "images up", flush=True)
        if isinstance(message, Drain) and "busy" not in behaviours:
            child.drained()
        if isinstance(message, Stop) and "deaf" not in behaviours:
            break
    child.close()


if __name__ == "__main__":
    main()
