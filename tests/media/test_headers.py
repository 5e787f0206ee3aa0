"""Headers that would keep a server busy, and the orientation that one gives."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.pictures import encoded, gradient, oriented, png
from lightllm_rs.media import MediaError, decode, inspect
from lightllm_rs.media.headers import MOST_COMMENT, MOST_SCANS, check_header, orientation_of

JPEG = encoded(gradient(8, 8), "JPEG")
GIF = encoded(gradient(8, 8), "GIF")
PNG = png(8, 8, 8, 0, (b"\0" + bytes(8)) * 8)
TIFF = encoded(gradient(8, 8), "TIFF")
FRAME = 13 + (3 << (GIF[10] & 7) + 1)
"""Where the first frame of GIF begins, if there is nothing before it."""


def directory(entries: int, size: int, order: str = "<", kind: int = 1) -> bytes:
    """A TIFF directory whose entries all point to the same bytes."""
    rows = b"".join(struct.pack(f"{order}HHII", 1000 + number, kind, size, 8) for number in range(entries))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IH", 8, entries) + rows + bytes(4 + size)


def app(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def with_parts(parts: bytes) -> bytes:
    """The JPEG with more in its header."""
    return JPEG[:2] + parts + JPEG[2:]


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def scans(count: int) -> bytes:
    """A progressive JPEG that goes over its pixels so many times."""
    data = encoded(gradient(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (count - data.count(b"\xff\xda")) + data[-2:]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (with_parts(b"\xff\xfe\0\2" * 70_000), "parts"),
        (with_parts(b"\xff\xe1\0\2" * 70_000), "parts"),
        (with_parts(b"\xff\x01" * 70_000), "parts"),
        (with_parts(b"\0" * 70_000), "bytes between its parts"),
        (with_parts(b"\xff" * 70_000), "bytes between its parts"),
        (with_parts(app(0xE1, b"Exif\0\0" + b"II*\0") * 17), "segments of Exif"),
        (with_parts(app(0xE1, b"Exif\0\0" + directory(2000, 40_000))), "bytes in its directory"),
        (with_parts(app(0xE1, b"Exif\0\0" + directory(2000, 40_000, ">"))), "bytes in its directory"),
        (with_parts(app(0xE2, b"MPF\0" + directory(2000, 40_000))), "bytes in its directory"),
        (scans(MOST_SCANS + 1), "scans"),
        (PNG[:33] + chunk(b"abCd") * 70_000 + PNG[33:], "parts"),
        (PNG[:-12] + chunk(b"tEXt", b"a\0b") * 70_000 + PNG[-12:], "parts"),
        (GIF[:FRAME] + b"!\xfe" + b"\1a" * MOST_COMMENT + b"\0" + GIF[FRAME:], "bytes before its first frame"),
        (GIF[:FRAME] + b"!\xfe\1a\0" * MOST_COMMENT + GIF[FRAME:], "bytes before its first frame"),
        (GIF[:FRAME] + b"\0" * 2 * MOST_COMMENT + GIF[FRAME:], "bytes before its first frame"),
        (directory(5000, 1 << 20), "bytes in its directory"),
        (directory(5000, 1 << 18, ">", kind=4), "bytes in its directory"),
    ],
)
def test_too_much_is_refused(data: bytes, says: str) -> None:
    for read in (check_header, inspect, decode):
        with pytest.raises(MediaError, match=f"too many {says}"):
            read(data)


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize(
    "data",
    [
        with_parts(b"\xff\xfe\0\2" * 1000 + b"\xff" * 1000 + b"\0" * 1000),
        with_parts(app(0xE1, b"Exif\0\0" + directory(20, 40_000))),
        with_parts(app(0xE2, b"\xff\xda" * 20_000)),
        scans(MOST_SCANS),
        PNG[:33] + chunk(b"abCd") * 1000 + PNG[33:],
        GIF[:FRAME] + b"!\xfe" + b"\1a" * 1000 + b"\0" + GIF[FRAME:],
    ],
)
def test_much_is_not_too_much(data: bytes) -> None:
    assert decode(data).size == (inspect(data).width, inspect(data).height)


BIG_TIFF = b"II+\0\x08\0\0\0" + b"\xff" * 8


@given(st.sampled_from([JPEG, PNG, GIF, TIFF, BIG_TIFF, scans(20)]), st.integers(0, 2**16), st.binary(max_size=8))
def test_the_check_ends_for_any_bytes(data: bytes, at: int, rest: bytes) -> None:
    at %= len(data)
    for wrong in (data, data[:at], data[:at] + rest, data[:at] + rest + data[at + len(rest) :], data[:4] + rest * 20):
        with contextlib.suppress(MediaError):
            check_header(wrong)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert orientation_of(exif.tobytes()) == orientation
    for order, mark in (("<", b"II*\0"), (">", b"MM\0*")):
        for kind, value in ((3, "H"), (4, "I")):
            entry = struct.pack(f"{order}HHI{value}", 0x0112, kind, 1, orientation).ljust(12, b"\0")
            assert orientation_of(mark + struct.pack(f"{order}IH", 8, 1) + entry) == orientation


def test_orientation_as_imagemagick_writes_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = exif.tobytes()
    text = f"\nexif\n{len(data):8}\n{data.hex()}\n".encode()
    assert inspect(png(8, 4, 8, 0, (b"\0" + bytes(8)) * 4, (b"tEXt", b"Raw profile type exif\0" + text))).width == 4
    assert inspect(png(8, 4, 8, 0, (b"\0" + bytes(8)) * 4, (b"tEXt", b"Raw profile type exif\0\n\n\nxyz"))).width == 8


@given(st.binary(max_size=80), st.sampled_from([b"", b"Exif\0\0", b"II*\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]))
def test_any_exif_has_an_orientation(rest: bytes, head: bytes) -> None:
    assert isinstance(orientation_of(head + rest), int)


def test_orientation_swaps_the_sides() -> None:
    for orientation in range(1, 9):
        for format in ("JPEG", "PNG", "WEBP"):
            data = oriented(gradient(8, 4), orientation, format)
            assert (inspect(data).width == 4) is (orientation > 4)
