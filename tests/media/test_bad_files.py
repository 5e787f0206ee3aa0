"""Files that are broken, or meant to break something."""

from __future__ import annotations

import contextlib
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.pictures import encoded, gradient, png
from helpers.read_pictures import ODD_METADATA, OPTIONS, both, refused
from lightllm_rs.media import MediaError, decode, inspect
from lightllm_rs.media.formats import FORMATS


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello", "no readable PNG, JPEG, WebP, GIF, BMP or TIFF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf\n<?xml version="1.0"?><svg/>', "SVG"),
        (b"<!DOCTYPE html><p>Not found", "web page"),
        (b"%PDF-1.7", "no readable"),
        (b"\0\0\0\x1cftypheic", "no readable"),
        (b"P6 1 1 255 abc", "no readable"),
        (b"\0\0\x01\0\x01\0", "no readable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no readable"),
    ],
)
def test_what_is_no_picture(data: bytes, says: str) -> None:
    refused(data, says)


@ODD_METADATA
@pytest.mark.parametrize("format", FORMATS)
def test_truncated_files(format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    data = encoded(noise, format, **OPTIONS.get(format, {}))
    for length in {1, 2, 10, 20, 40, 100, len(data) // 2, len(data) - len(data) // 10}:
        with pytest.raises(MediaError):
            decode(data[:length])
    assert decode(data + b"trailing").size == (64, 48)


def bombs() -> dict[str, bytes]:
    """Small files that stand for very many pixels."""
    tiny = png(30_000, 30_000, 8, 0, b"")
    gif = b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + b"\x80\0\0" + b"\0" * 6
    frame = b"!\xf9\x04\x08\0\0\0\0,\0\0\0\0" + struct.pack("<HH", 60_000, 60_000) + b"\0\x02\x02L\x01\0;"
    bmp = encoded(gradient(2, 2), "BMP")
    tiff = bytearray(encoded(Image.new("1", (60_000, 10), 0), "TIFF", compression="group4"))
    at = tiff.find(struct.pack("<HHII", 257, 3, 1, 10)[:8])
    webp = bytearray(encoded(gradient(2, 2), "WEBP", lossless=True))
    at_size = webp.index(b"VP8L") + 9
    webp[at_size : at_size + 4] = struct.pack("<I", 16_382 | 16_382 << 14)
    if at >= 0:
        tiff[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 1 << 30)
    return {
        "png": tiny,
        "gif": gif + frame,
        "bmp": bmp[:18] + struct.pack("<ii", 1 << 20, 1 << 20) + bmp[26:],
        "tiff": bytes(tiff),
        "webp": bytes(webp),
    }


@pytest.fixture(scope="module")
def all_bombs() -> dict[str, bytes]:
    return bombs()


@ODD_METADATA
@pytest.mark.parametrize("name", ["png", "gif", "bmp", "tiff", "webp"])
def test_bombs(all_bombs: dict[str, bytes], name: str) -> None:
    data = all_bombs[name]
    assert len(data) < 1000
    refused(data, "more than 50000000 pixels")


def test_text_bombs_of_png() -> None:
    bomb = zlib.compress(b"x" * (80 << 20), 9)
    for name, head in ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\x01\0\0\0"), (b"iCCP", b"k\0\0")):
        data = png(4, 4, 8, 0, (b"\0" + bytes(4)) * 4, (name, head + bomb))
        with contextlib.suppress(MediaError):  # refused is as good
            assert both(data).shape == (4, 4, 3)


@ODD_METADATA
@pytest.mark.parametrize("format", FORMATS)
def test_damaged_files_are_read_or_refused(format: str) -> None:
    """Nothing but MediaError comes out, and what the header says holds."""
    good = encoded(gradient(33, 17), format, **OPTIONS.get(format, {}))
    draw = random.Random(format)
    for _ in range(400):
        data = bytearray(good)
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(min(len(data), draw.choice([40, 200, 10**9])))] = draw.randrange(256)
        try:
            picture = inspect(bytes(data), max_pixels=1_000_000)
            image = decode(memoryview(bytes(data)), max_pixels=1_000_000)
        except MediaError:
            continue
        assert image.size == (picture.width, picture.height)


@ODD_METADATA
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"GIF89a", b"BM", b"II*\0", b"MM\0*"]),
    st.binary(max_size=200),
)
def test_any_bytes_are_read_or_refused(head: bytes, rest: bytes) -> None:
    for read in (inspect, decode):
        with contextlib.suppress(MediaError):
            read(head + rest, max_pixels=1_000_000)


def fax(width: int, height: int, rows: bytes) -> bytes:
    """A TIFF with the compression of fax machines (group 4)."""
    entries = [(256, width), (257, height), (258, 1), (259, 4), (262, 0), (273, 8), (277, 1), (278, height)]
    entries.append((279, len(rows)))
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(rows)) + rows + struct.pack("<H", len(entries)) + directory + bytes(4)
    )


def test_callers_do_not_fill_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(MediaError):
        decode(fax(50, 1000, b"\x03" * 2000))  # libtiff has something to say of each row
    assert capfd.readouterr() == ("", "")
