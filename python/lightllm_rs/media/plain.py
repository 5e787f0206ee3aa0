"""Headers that Pillow reads in less time than the way to a thread takes, whoever made them.

A file is plain if its header is short and made of a few parts of common kinds, one right after the other. It is only
walked over here: what it says is for `formats.inspect` to read, the same on the event loop as in a thread. Exif,
compressed text and profiles, animations and all formats but JPEG and PNG are not plain, and what `check_header` refuses
is not.
"""

from __future__ import annotations

from lightllm_rs.media.headers import MOST_SCANS

MOST_BYTES = 4096
"""Of a header; nearly all have 600 or, with a profile of colours, 3,700. Pillow unpacks tables in Python."""

MOST_PARTS = 32

MOST_CHUNKS = 64
"""Of a PNG in all: with more, who counts them shall do it in a thread."""

_SEGMENTS = frozenset(b"\xc0\xc1\xc2\xc4\xdb\xdd\xe0\xee\xfe")
"""Frames, tables, restart intervals, JFIF, Adobe, comments."""

_APP2, _START_OF_SCAN = 0xE2, 0xDA

_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"tIME", b"tEXt"))
"""None of them is compressed, and none speaks of other frames."""


def plain_length(data: bytes) -> int | None:
    """Bytes of a plain header: all up to the pixels. None if the header is not plain, or there are no pixels."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    return None


def _jpeg(data: bytes) -> int | None:
    at = 2
    for _ in range(MOST_PARTS):
        if at + 4 > min(len(data), MOST_BYTES) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == _START_OF_SCAN:
            # With more, somebody has to find out in a thread how many of them are scans.
            return at if data.count(b"\xff\xda") <= MOST_SCANS else None
        profile = marker == _APP2 and data.startswith(b"ICC_PROFILE\0", at + 4)
        if marker not in _SEGMENTS and not profile:
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _png(data: bytes) -> int | None:
    at, pixels = 8, None
    for number in range(MOST_CHUNKS):
        name = data[at + 4 : at + 8]
        if pixels is None:
            if number >= MOST_PARTS or at > MOST_BYTES:
                return None
            if name == b"IDAT":
                pixels = at
            elif name not in _CHUNKS:
                return None
        if len(name) < 4 or name == b"IEND":
            return pixels
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return None
