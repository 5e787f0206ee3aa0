"""The only module that imports zmq: endpoints, and the three kinds of socket that processes use.

All sockets are `ipc://` in the private run directory. High-water marks are off: every sender is bounded by something of
its own (requests in flight, two plans, one report a second, the router's bound in bytes a client).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import zmq

MAX_PATH_BYTES = 107
"""Longest path of a Unix socket (sun_path less its terminator)."""


class EndpointTooLong(ValueError):
    """The run directory's path leaves no room for the sockets' names."""


def endpoint(run_dir: str | Path, name: str) -> str:
    """The ipc endpoint of socket `name` in `run_dir`. Raises EndpointTooLong."""
    path = str(Path(run_dir) / f"{name}.sock")
    length = len(path.encode())
    if length > MAX_PATH_BYTES:
        raise EndpointTooLong(
            f"the socket path {path} has {length} bytes and {MAX_PATH_BYTES} are allowed: "
            "set XDG_RUNTIME_DIR or TMPDIR to a shorter directory"
        )
    return f"ipc://{path}"


def _open(kind: int) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    return socket


class Dealer:
    """A connecting socket: one peer, frames both ways."""

    def __init__(self, address: str, identity: str, linger_ms: int = 0) -> None:
        self.socket = _open(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        self.socket.setsockopt(zmq.LINGER, linger_ms)
        self.socket.connect(address)

    def send(self, frame: bytes) -> None:
        """Queues a frame; never blocks."""
        self.socket.send(frame, zmq.NOBLOCK)

    def receive(self, timeout_ms: int | None) -> bytes | None:
        """The next frame, or None after `timeout_ms` (None waits for ever)."""
        if timeout_ms is None:
            return self.socket.recv()
        if timeout_ms == 0 or self.socket.poll(timeout_ms):
            try:
                return self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return None
        return None

    def close(self) -> None:
        """Closes the socket; what was queued is sent for as long as `linger_ms` said."""
        self.socket.close()


class Hub:
    """A binding socket: many peers, told apart by their identities."""

    def __init__(self, address: str) -> None:
        self.socket = _open(zmq.ROUTER)
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a restarted child comes back under its old name
        self.socket.bind(address)

    def send(self, identity: bytes, frame: bytes) -> None:
        """Queues a frame for a peer; dropped if the peer is gone."""
        self.socket.send_multipart([identity, frame], zmq.NOBLOCK)

    def receive(self, timeout_ms: int) -> tuple[bytes, bytes] | None:
        """(identity, frame), or None after `timeout_ms`."""
        if timeout_ms == 0 or self.socket.poll(timeout_ms):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            return parts[0], parts[-1]
        return None

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()


class AsyncDealer(Dealer):
    """A Dealer on an asyncio event loop: calls `on_frame` for each frame.

    zmq's file descriptor is edge-triggered, so all frames are taken at each wake-up, and once more after each send.
    """

    def __init__(self, address: str, identity: str, on_frame: Callable[[bytes], None], linger_ms: int = 0) -> None:
        super().__init__(address, identity, linger_ms)
        self._on_frame = on_frame
        self._loop = asyncio.get_running_loop()
        self._fd = int(self.socket.getsockopt(zmq.FD))
        self._scheduled = False
        self._closed = False
        self._loop.add_reader(self._fd, self._drain)
        self._drain_soon()

    def send(self, frame: bytes) -> None:
        """Queues a frame; never blocks."""
        super().send(frame)
        self._drain_soon()  # sending may have consumed the edge that announced an incoming frame

    def _drain_soon(self) -> None:
        if not self._scheduled and not self._closed and not self._loop.is_closed():
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        drained = False
        try:
            while not self._closed:
                try:
                    frame = self.socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    drained = True
                    return
                self._on_frame(frame)
        finally:
            if not drained:  # `on_frame` raised: no edge will announce the frames behind this one
                self._drain_soon()

    def close(self) -> None:
        """Stops calling back and closes the socket."""
        if not self._closed:
            self._closed = True
            if not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            super().close()


class Poller:
    """Waits for several sockets or plain file descriptors at once."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()

    def add(self, source: Dealer | Hub | int) -> None:
        """Watches a socket or a file descriptor for reading."""
        self._poller.register(source if isinstance(source, int) else source.socket, zmq.POLLIN)

    def remove(self, source: Dealer | Hub | int) -> None:
        """Stops watching it."""
        self._poller.unregister(source if isinstance(source, int) else source.socket)

    def wait(self, timeout_ms: int | None) -> list[object]:
        """File descriptors and zmq sockets that can be read, after at most `timeout_ms`."""
        return [source for source, _ in self._poller.poll(timeout_ms)]


def close_context() -> None:
    """Ends libzmq's threads; call once, last, in a process that is about to exit."""
    zmq.Context.instance().destroy(linger=200)
