"""Supervisor and its children."""

from __future__ import annotations

import msgspec

from lightllm_rs.messages.frames import FrameDecoder


class ChildHello(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="hello"):
    """First frame of a child."""

    protocol: int
    process: str
    pid: int


class Phase(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="phase"):
    """A part of a child's start is done, after `seconds`. `detail` is one line for people."""

    name: str
    seconds: float
    detail: str = ""


class Ready(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="ready"):
    """The child serves from now on."""


class Notice(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="notice"):
    """Something that the operator should read; the child goes on."""

    message: str


class Fatal(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="fatal"):
    """The child's last words: one line that says what to do. It exits with a non-zero code after this."""

    message: str


class Drained(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="drained"):
    """An HTTP process has no request left."""


ChildMessage = ChildHello | Phase | Ready | Notice | Fatal | Drained


class EngineUp(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="up"):
    """Router and all ranks are ready. Goes to the HTTP processes.

    Attributes:
        epoch: counts restarts of router and backends.
        endpoint: the router's socket for requests.
    """

    epoch: int
    endpoint: str


class EngineDown(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="down"):
    """Router or a backend is gone: all requests in flight fail now, new ones get 503 until the next EngineUp."""

    reason: str


class Drain(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="drain"):
    """Accept nothing new, finish what runs, then say Drained."""


class Stop(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="stop"):
    """End now, with exit code 0."""


SupervisorMessage = EngineUp | EngineDown | Drain | Stop

child_decoder: FrameDecoder[ChildMessage] = FrameDecoder(ChildMessage)
supervisor_decoder: FrameDecoder[SupervisorMessage] = FrameDecoder(SupervisorMessage)
