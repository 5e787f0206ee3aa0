"""The HTTP port, bound before anything loads and kept across restarts of the HTTP processes."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from lightllm_rs.supervisor.errors import ServiceError

BACKLOG = 2048


class HttpPort:
    """One listening socket for each HTTP process, all of one address; the kernel deals connections out to them.

    With one socket for all, the process that is awake first would take a whole burst of connections.
    """

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    @property
    def number(self) -> int:
        """The port."""
        number: int = self._sockets[0].getsockname()[1]
        return number

    def descriptors(self) -> list[int]:
        """File descriptors of the sockets."""
        return [listener.fileno() for listener in self._sockets]

    def close(self) -> None:
        """Takes no more connections here; processes that have a socket go on."""
        for listener in self._sockets:
            listener.close()

    def __enter__(self) -> HttpPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def listen(host: str, port: int, count: int = 1) -> HttpPort:
    """`count` listening sockets on the first address that `host` stands for. Raises ServiceError."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise ServiceError(f"--host {host} is no address of this machine and no name that resolves") from None
    family, kind, protocol, _, address = infos[0]
    sockets: list[socket.socket] = []
    try:
        if count > 1:
            # Sockets that share a port share it with anybody's: first see whether it is free.
            with _bound(family, kind, protocol, address, shared=False) as probe:
                address = probe.getsockname()
        for _ in range(count):
            sockets.append(_bound(family, kind, protocol, address, shared=count > 1))
        for listener in sockets:
            listener.listen(BACKLOG)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise ServiceError(_reason(error, host, port)) from None
    return HttpPort(sockets)


def _bound(family: int, kind: int, protocol: int, address: Any, shared: bool) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what listens there, or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges that this user lacks: choose one from 1024 up with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine"
    return f"cannot listen on port {port} of {host}: {os.strerror(error.errno or 0)}"


def url(port: HttpPort, host: str, tls: bool) -> str:
    """Where a client on this machine reaches the service."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{'https' if tls else 'http'}://{shown}:{port.number}"
