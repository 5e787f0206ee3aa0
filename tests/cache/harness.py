"""The cache manager in a process of its own, with the test as its supervisor and its servers; and clients in others."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lightllm_rs.cache import CacheClient, Lease, Want
from lightllm_rs.messages import control
from lightllm_rs.messages.cache import CacheStart
from lightllm_rs.messages.frames import PROTOCOL, encode
from lightllm_rs.messages.sockets import Hub, endpoint

WAIT_MS = 60_000
WAIT_SECONDS = WAIT_MS / 1000
MIB = 1 << 20


def key(name: object) -> bytes:
    """The key of an item that tests call `name`."""
    return hashlib.blake2b(repr(name).encode(), digest_size=16).digest()


def want(name: object, data_len: int = 1000, feature_len: int = 2000, pixels: int = 10, recipe: bytes = b"") -> Want:
    """An item of that name."""
    return Want(key(name), data_len, feature_len, pixels, recipe)


@dataclass
class Manager:
    """The process and the test's end of its sockets."""

    process: subprocess.Popen[bytes]
    run_dir: Path
    arena: Path
    control: Hub
    health: Hub
    metrics: Hub
    clients: list[CacheClient] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        return endpoint(self.run_dir, "cache-0")

    def client(self, name: str = "http-0") -> CacheClient:
        """A client in the test's own process."""
        client = CacheClient(self.endpoint, name, timeout=WAIT_SECONDS)
        self.clients.append(client)
        return client

    def child(self, code: str) -> subprocess.Popen[bytes]:
        """A client in a process of its own: `client` is there, and `say(text)` tells the test something."""
        before = (
            "import sys, time\n"
            "from lightllm_rs.cache import CacheClient, Want\n"
            "from cache.harness import key, want\n"
            f"client = CacheClient({self.endpoint!r}, 'child')\n"
            "def say(text):\n    print(text, flush=True)\n"
        )
        path = os.pathsep.join(entry for entry in sys.path if entry)
        return subprocess.Popen(
            [sys.executable, "-c", before + code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )

    def until(self, wanted: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """The first figures that are as wanted; asked for by a client of its own."""
        asker = CacheClient(self.endpoint, "asker", timeout=WAIT_SECONDS)
        deadline = time.monotonic() + WAIT_SECONDS
        while not wanted(stats := asker.stats(timeout=WAIT_SECONDS)):
            assert time.monotonic() < deadline, stats
            time.sleep(0.005)
        asker.close()
        return stats

    def said(self) -> control.ChildMessage:
        """The next message to the supervisor."""
        got = self.control.receive(WAIT_MS)
        assert got is not None, "the cache manager said nothing to its supervisor"
        return control.child_decoder.decode(got[1])

    def stop(self) -> int:
        """Has the supervisor say stop; returns the exit code."""
        self.control.send(b"cache", encode(control.Stop()))
        return self.process.wait(WAIT_SECONDS)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def starting(run_dir: Path, size: int = 4 * MIB, arena: Path | None = None, checks: bool = True) -> Iterator[Manager]:
    """A cache manager that has just been started."""
    # Not where a cache manager that starts meanwhile looks for arenas of dead owners.
    arena = arena or Path(f"/dev/shm/test-lightllm-rs-{os.getpid()}-{run_dir.name}")
    names = ("control", "health", "metrics")
    start = CacheStart(
        protocol=PROTOCOL,
        process="cache",
        clients=endpoint(run_dir, "cache-0"),
        **{name: endpoint(run_dir, name) for name in names},
        arena=str(arena),
        bytes=size,
        debug_checks=checks,
    )
    hubs = [Hub(endpoint(run_dir, name)) for name in names]
    code = "import sys; from lightllm_rs import _core; _core.run_cache_manager(sys.stdin.buffer.read())"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    it = Manager(process, run_dir, arena, *hubs)
    try:
        assert process.stdin is not None
        process.stdin.write(encode(start))
        process.stdin.close()
        assert isinstance(it.said(), control.ChildHello)
        yield it
    finally:
        for client in it.clients:
            client.close()
        it.kill()
        assert process.stderr is not None
        process.stderr.close()
        for hub in hubs:
            hub.close()
        arena.unlink(missing_ok=True)


@contextmanager
def manager(run_dir: Path, size: int = 4 * MIB, arena: Path | None = None, checks: bool = True) -> Iterator[Manager]:
    """A cache manager that is ready."""
    with starting(run_dir, size, arena, checks) as it:
        ready = it.said()
        assert isinstance(ready, control.Ready), ready
        yield it


def encode_next(client: CacheClient, features: Callable[[Lease], bytes]) -> list[Lease]:
    """Plays the visual server once: takes what there is, and writes its features."""
    taken = client.take(100, timeout=WAIT_SECONDS)
    for lease in taken:
        lease.write_features(features(lease))
    client.publish_features(taken)
    return taken


def put(client: CacheClient, name: object, data: bytes, feature_len: int) -> Lease:
    """Reserves, writes and publishes an item that is not there."""
    [lease] = client.acquire([want(name, len(data), feature_len)], timeout=WAIT_SECONDS)
    assert lease.state == "write"
    lease.write_data(data)
    client.publish_data([lease])
    return lease
