"""Encoding and bounded decoding of frames: msgpack arrays, never pickle."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

PROTOCOL = 4
"""Version of the wire; sent in every hello, and processes of different versions refuse to talk."""

MAX_FRAME_BYTES = 64 << 20
"""Longest frame that is decoded; what is longer is dropped and counted."""

Message = TypeVar("Message")

_encoder = msgspec.msgpack.Encoder()


class BadFrame(ValueError):
    """A frame that is too long or does not decode; the receiver counts it and drops it."""


def encode(message: msgspec.Struct) -> bytes:
    """One frame."""
    return _encoder.encode(message)


class FrameDecoder(Generic[Message]):
    """Decodes the frames of one receiving socket.

    Args:
        union: the tagged union of all messages that may arrive.
    """

    def __init__(self, union: Any) -> None:
        self._decoder = msgspec.msgpack.Decoder(union)

    def decode(self, frame: bytes | memoryview) -> Message:
        """The message in `frame`. Raises BadFrame."""
        if len(frame) > MAX_FRAME_BYTES:
            raise BadFrame(f"a frame of {len(frame)} bytes is over the limit of {MAX_FRAME_BYTES}")
        try:
            return self._decoder.decode(frame)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(str(error)) from None


def pack_u32(values: Any) -> bytes:
    """Token ids, pages or slots as little-endian 32-bit words."""
    return np.asarray(values, dtype="<u4").tobytes()


def unpack_u32(words: bytes) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The inverse of `pack_u32`: a read-only uint32 array [n]. Raises BadFrame on a length that is no multiple of 4."""
    if len(words) % 4:
        raise BadFrame(f"{len(words)} bytes are not whole 32-bit words")
    return np.frombuffer(words, dtype="<u4")


def pack_f32(values: Any) -> bytes:
    """Floats as little-endian 32-bit words."""
    return np.asarray(values, dtype="<f4").tobytes()


def unpack_f32(words: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The inverse of `pack_f32`: a read-only float32 array [n]. Raises BadFrame as `unpack_u32` does."""
    if len(words) % 4:
        raise BadFrame(f"{len(words)} bytes are not whole 32-bit words")
    return np.frombuffer(words, dtype="<f4")
