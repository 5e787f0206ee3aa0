"""A cache of images as it is written in plain Python: a server with a lock, and one remote call an item.

The stand-in for LightLLM's design, to compare with: its cache manager is a Python process that clients call over RPyC.
With RPyC where that is installed (`pip install rpyc`), and over `multiprocessing.connection` with frames of fixed size,
which is about the least that a call between two Python processes costs.
"""

from __future__ import annotations

import multiprocessing
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing.connection import Client as connect
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

CALL = struct.Struct("<B16sQ")
"""What to do, the item's key, and a length."""

ANSWER = struct.Struct("<QQ?")
"""Where the item is, how long, and whether it is ready."""

CALLS = ("alloc", "set_ready", "acquire", "release")

HAS_RPYC = find_spec("rpyc") is not None


class Records:
    """The book behind the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[bytes, dict[str, Any]] = {}
        self._next = 0

    def call(self, what: str, key: bytes, length: int = 0) -> tuple[int, int, bool]:
        """Does one call."""
        with self._lock:
            if what == "alloc":
                self._records[key] = {"at": self._next, "length": length, "references": 0, "ready": False, "used": 0.0}
                self._next += length
            record = self._records[key]
            if what == "set_ready":
                record["ready"] = True
            elif what == "acquire":
                record["references"] += 1
                record["used"] = time.time()
            elif what == "release":
                record["references"] -= 1
            return record["at"], record["length"], record["ready"]


def serve_frames(path: str, ready: Any) -> None:
    """Over `multiprocessing.connection`, one thread a client."""
    records = Records()
    door = Listener(path, "AF_UNIX")
    ready.set()

    def talk(line: Connection) -> None:
        with suppress(EOFError, ConnectionResetError):  # the client has left
            while True:
                what, key, length = CALL.unpack(line.recv_bytes())
                line.send_bytes(ANSWER.pack(*records.call(CALLS[what], key, length)))

    while True:
        threading.Thread(target=talk, args=(door.accept(),), daemon=True).start()


def serve_rpyc(path: str, ready: Any) -> None:
    """Over RPyC, one thread a client."""
    import rpyc
    from rpyc.utils.server import ThreadedServer

    records = Records()

    class Service(rpyc.Service):  # type: ignore[misc]
        def exposed_call(self, what: str, key: bytes, length: int = 0) -> tuple[int, int, bool]:
            return records.call(what, key, length)

    server = ThreadedServer(Service(), socket_path=path)
    threading.Timer(1.0, ready.set).start()  # it listens in `start`, which does not return
    server.start()


Cache = Callable[..., tuple[int, int, bool]]
"""One remote call: what to do, the key, and for a new item its length."""


@contextmanager
def over_frames(path: Path) -> Iterator[Cache]:
    """A server in a process of its own, and a line to it."""
    with _process(serve_frames, path), connect(str(path), "AF_UNIX") as line:

        def call(what: str, key: bytes, length: int = 0) -> tuple[int, int, bool]:
            line.send_bytes(CALL.pack(CALLS.index(what), key, length))
            return ANSWER.unpack(line.recv_bytes())

        yield call


@contextmanager
def over_rpyc(path: Path) -> Iterator[Cache]:
    """The same over RPyC."""
    from rpyc.utils.factory import unix_connect

    with _process(serve_rpyc, path):
        line = unix_connect(str(path))
        yield line.root.call
        line.close()


@contextmanager
def _process(serve: Callable[[str, Any], None], path: Path) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=serve, args=(str(path), ready), daemon=True)
    process.start()
    try:
        assert ready.wait(30), "the server did not start"
        yield
    finally:
        process.kill()
        process.join()
