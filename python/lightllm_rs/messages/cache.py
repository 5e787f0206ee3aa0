"""The cache manager and its clients: HTTP processes, visual servers, backend ranks.

Only the start is written here in service. The rest is spoken by the compiled client and stands here as its description.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from lightllm_rs.messages.frames import FrameDecoder

WRITE, PENDING, READY, FAILED = 0, 1, 2, 3
"""Values of `Granted.state`."""

KEY_BYTES = 16

Key = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
"""Name of an item: a hash of its bytes and of all settings that its features depend on."""


class CacheStart(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Settings of the cache manager: one untagged array.

    Attributes:
        protocol: version of the wire.
        process: the cache manager's name.
        clients: endpoint that it binds.
        control, health, metrics: endpoints that it connects to; of the last two each may be empty.
        arena: file of the arena, which must not be there.
        bytes: of the arena; 0: as many as is usual.
        debug_checks: check the cache's invariants after each frame.
    """

    protocol: int
    process: str
    clients: str
    control: str
    health: str
    metrics: str
    arena: str
    bytes: int
    debug_checks: bool


class CacheHello(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="hello"):
    """First frame of a client.

    Attributes:
        pid: the client's process.
        started: clock ticks between the start of the system and that of the process: with `pid` it names one process.
    """

    protocol: int
    name: str
    pid: int
    started: int


class Want(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An item that somebody needs.

    Attributes:
        data_len: bytes of the original.
        feature_len: bytes of the features.
        pixels: what `Take.max_pixels` sums up.
        original_pixels: what `Take.max_original_pixels` sums up; the smallest goes before larger ones every other time.
        recipe: what the encoder has to know beside the bytes; the cache manager does not read it.
    """

    key: Key
    data_len: int
    feature_len: int
    pixels: int
    original_pixels: int
    recipe: bytes


class Acquire(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="acquire"):
    """Leases of all items, reserving those that are not there; answered by `Leased` when there is room for all."""

    request: int
    wants: list[Want]


class Publish(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="publish"):
    """The data is written."""

    request: int
    leases: list[int]


class Wait(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="wait"):
    """Answered by `Decided` when nothing is pending any more, or something is to be written."""

    request: int
    leases: list[int]


class Take(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="take"):
    """Written items to encode; answered by `Leased` when there is one.

    Attributes:
        max_pixels: sum of their pixels, of which the first item's may be more; 0 for no bound.
        max_original_pixels: the same of their original pixels.
    """

    request: int
    max_items: int
    max_pixels: int
    max_original_pixels: int


class Keep(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="keep"):
    """Which of these, which the client encodes, somebody waits for; its leases of the others end.

    Answered by `Kept`.
    """

    request: int
    leases: list[int]


class PublishFeatures(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="features"):
    """The features are written; the encoder's leases end."""

    request: int
    leases: list[int]


class Fail(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="fail"):
    """An item can't be encoded; the encoder's lease ends. `message` is for the caller of the API."""

    request: int
    lease: int
    message: str


class LeaseReady(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="lease"):
    """Leases of items that are ready."""

    request: int
    keys: list[Key]


class Release(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="release"):
    """Gives leases back; not answered."""

    leases: list[int]


class Cancel(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="cancel"):
    """The client no longer wants the answers to these; not answered."""

    requests: list[int]


class StatsQuery(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="stats?"):
    """Present figures."""

    request: int


class Goodbye(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="bye"):
    """The client leaves and gives all back."""


CacheRequest = (
    CacheHello
    | Acquire
    | Publish
    | Wait
    | Take
    | Keep
    | PublishFeatures
    | Fail
    | LeaseReady
    | Release
    | Cancel
    | StatsQuery
    | Goodbye
)


class CacheWelcome(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="hello"):
    """Answer to a hello.

    Attributes:
        pid, started: the cache manager's process, as in `CacheHello`.
        arena: path of the arena.
    """

    protocol: int
    pid: int
    started: int
    arena: str


class Done(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="done"):
    """The call is done."""

    request: int


class Granted(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A lease, and where the item is.

    Attributes:
        state: WRITE (the holder of the lease writes the data), PENDING, READY or FAILED.
        slot, generation: its record in the arena.
        data_len, feature_len: bytes.
        pixels: as wanted.
        recipe: to encoders only.
        data: u32 words: first page and number of pages of each extent of the data. None once the item is ready.
        features: the same of the features.
    """

    lease: int
    key: Key
    state: int
    slot: int
    generation: int
    data_len: int
    feature_len: int
    pixels: int
    recipe: bytes
    data: bytes
    features: bytes


class Leased(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="leased"):
    """An entry for each item asked for, or those taken; None for a key that is not ready."""

    request: int
    items: list[Granted | None]


class Decided(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="decided"):
    """One state a lease, none of them PENDING unless one is WRITE.

    Attributes:
        states: one byte each.
        failures: why an item failed: the index of its lease, and the reason.
    """

    request: int
    states: bytes
    failures: list[tuple[int, str]]


class Kept(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="kept"):
    """One byte a lease: 1 if somebody waits for the item, 0 if the lease has ended."""

    request: int
    kept: bytes


class Refused(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="refused"):
    """The call changed nothing.

    Attributes:
        kind: "invalid" or "too_large".
        needed, total: bytes that the call needs and bytes that there are, for "too_large"; otherwise 0.
    """

    request: int
    kind: str
    message: str
    needed: int
    total: int


class StatsAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="stats"):
    """Figures by name."""

    request: int
    values: list[tuple[str, int]]


CacheReply = CacheWelcome | Done | Leased | Decided | Kept | Refused | StatsAnswer

cache_request_decoder: FrameDecoder[CacheRequest] = FrameDecoder(CacheRequest)
cache_reply_decoder: FrameDecoder[CacheReply] = FrameDecoder(CacheReply)
