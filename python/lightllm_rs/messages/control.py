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


class Holds(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="holds"):
    """Before its Ready, from a visual server on a GPU: so many bytes of device memory are its own from now on."""

    bytes: int


class MayMeasure(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="measure?"):
    """From a backend that shares its GPU with visual servers: it is about to size its KV cache by what is free, and
    waits for `Measure`."""


class Beat(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="beat"):
    """Once a second, from a visual server.

    Attributes:
        busy: it has taken images.
        progress: any number that changes when something is done for them.
    """

    busy: bool
    progress: int


ChildMessage = ChildHello | Phase | Ready | Notice | Fatal | Drained | Holds | MayMeasure | Beat


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


class CacheUp(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="cache-up"):
    """A cache manager is ready. Goes to HTTP processes, visual servers and backends.

    Attributes:
        epoch: counts cache managers; whatever an older one held is gone.
        endpoint: its socket.
    """

    epoch: int
    endpoint: str


class CacheDown(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="cache-down"):
    """The cache manager is gone; there is none until the next CacheUp. Text needs none."""


class Measure(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="measure"):
    """Answer to MayMeasure: the visual servers of the backend's GPU have all the memory that they will take.

    Attributes:
        bytes: how much that is.
        missing: what those of them need that died again and again, and are not there; it has to stay free.
    """

    bytes: int
    missing: int = 0


class ImagesDown(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="images-down"):
    """Processes of images die again and again: no image can be encoded until the next ImagesUp. Goes to the HTTP
    processes.

    Attributes:
        seconds: until the next try.
    """

    seconds: float


class ImagesUp(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="images-up"):
    """Images can be encoded again."""


SupervisorMessage = EngineUp | EngineDown | Drain | Stop | CacheUp | CacheDown | Measure | ImagesDown | ImagesUp

child_decoder: FrameDecoder[ChildMessage] = FrameDecoder(ChildMessage)
supervisor_decoder: FrameDecoder[SupervisorMessage] = FrameDecoder(SupervisorMessage)
