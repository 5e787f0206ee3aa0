"""Headers that are read on the event loop: Pillow has little to do for them, whoever made them."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.pictures import encoded, gradient, oriented, png
from lightllm_rs.media import MediaError, inspect
from lightllm_rs.media.formats import FORMATS
from lightllm_rs.media.headers import MOST_SCANS, check_header
from lightllm_rs.media.plain import MOST_BYTES, MOST_CHUNKS, MOST_PARTS, plain_length

JPEG = encoded(gradient(30, 40), "JPEG")
SCAN = JPEG.index(b"\xff\xda")
ROWS = (b"\0" + bytes(8)) * 8
PNG = png(8, 8, 8, 0, ROWS)
PIXELS = 33
"""Where those of PNG begin."""


def segment(marker: int, data: bytes = b"") -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def with_parts(parts: bytes) -> bytes:
    """The JPEG with more in its header."""
    return JPEG[:2] + parts + JPEG[2:]


def with_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """The PNG likewise."""
    return png(8, 8, 8, 0, ROWS, *chunks)


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    reads = size = 0

    def read(self, size: int | None = -1, /) -> bytes:
        got = super().read(size)
        self.reads += 1
        self.size += len(got)
        return got


def assert_little_work(data: bytes) -> None:
    """If the header is plain, Pillow reads no more of the file than that, and in few pieces; and `check_header`, which
    is left out, lets it pass."""
    length = plain_length(data)
    if length is None:
        return
    check_header(data)
    assert length <= MOST_BYTES
    file = Counted(data)
    with contextlib.suppress(Exception):
        Image.open(file, formats=FORMATS)
    assert file.reads <= 4 * MOST_PARTS + 8
    last = int.from_bytes(data[length + 2 : length + 4], "big")  # of a scan's own header
    assert file.size <= length + last + 64


@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        encoded(gradient(30, 40), "JPEG", progressive=True, dpi=(72, 72)),
        encoded(gradient(30, 40).convert("L"), "JPEG", comment=b"grey"),
        encoded(gradient(30, 40).convert("CMYK"), "JPEG"),
        encoded(gradient(30, 40), "JPEG", icc_profile=bytes(3000)),
        PNG,
        encoded(gradient(20, 10)),
        encoded(gradient(20, 10).convert("P"), transparency=3, dpi=(72, 72)),
        with_chunks((b"gAMA", bytes(4)), (b"sRGB", b"\0"), (b"tEXt", b"Software\0some")),
    ],
)
def test_common_headers_are_plain(data: bytes) -> None:
    length = plain_length(data)
    assert length is not None
    assert data[length : length + 2] == b"\xff\xda" or data[length + 4 : length + 8] == b"IDAT"
    inspect(data)
    assert_little_work(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        JPEG[:2],
        JPEG[:SCAN],
        JPEG[: SCAN - 10],
        with_parts(b"\0"),
        with_parts(b"\xff"),
        with_parts(b"\xff\x01"),
        with_parts(b"\xff\xd8"),
        with_parts(b"\xff\xfe\0\0"),
        with_parts(b"\xff\xfe\0\1"),
        with_parts(segment(0xFE) * MOST_PARTS),
        with_parts(segment(0xFE, bytes(MOST_BYTES))),
        with_parts(segment(0xDB, bytes(65) * 63)),
        with_parts(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0")),
        with_parts(segment(0xE2, b"MPF\0II*\0")),
        with_parts(segment(0xED, b"Photoshop 3.0\x008BIM")),
        with_parts(segment(0xDE, bytes(20))),
        JPEG + b"\xff\xda" * MOST_SCANS,
        oriented(gradient(30, 40), 6, "JPEG"),
        oriented(gradient(30, 40), 6, "PNG"),
        PNG[:PIXELS],
        PNG[:PIXELS] + b"\0\0\0\0IEND",
        PNG[: PIXELS + 6],
        with_chunks((b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 20)))),
        with_chunks((b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20)))),
        with_chunks((b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(1 << 20)))),
        with_chunks((b"acTL", struct.pack(">II", 1, 0))),
        with_chunks((b"fdAT", bytes(8))),
        with_chunks((b"abCd", b"")),
        with_chunks((b"tEXt", b"a\0" + bytes(MOST_BYTES))),
        with_chunks(*[(b"tEXt", b"a\0b")] * MOST_PARTS),
        PNG[:-12] + with_chunks((b"tEXt", b"a\0b"))[PIXELS : PIXELS + 15] * MOST_CHUNKS + PNG[-12:],
        *(encoded(gradient(20, 10), format) for format in ("GIF", "BMP", "TIFF", "WEBP")),
    ],
)
def test_all_others_are_not(data: bytes) -> None:
    assert plain_length(data) is None


PARTS = st.builds(
    segment,
    st.sampled_from([0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xDA, 0xD8, 0x01]),
    st.sampled_from([b"", b"JFIF\0\1\1", b"Adobe", b"ICC_PROFILE\0\1\1", JPEG[2:80]]) | st.binary(max_size=200),
)
CHUNKS = st.tuples(
    st.sampled_from(
        [b"IHDR", b"PLTE", b"tRNS", b"cHRM", b"pHYs", b"tEXt", b"IDAT", b"IEND", b"eXIf", b"zTXt", b"acTL"]
    ),
    st.binary(max_size=200),
)


@given(st.lists(PARTS | st.binary(max_size=4), max_size=2 * MOST_PARTS))
def test_pillow_has_little_to_do_for_any_jpeg(parts: list[bytes]) -> None:
    assert_little_work(with_parts(b"".join(parts)))
    assert_little_work(JPEG[:SCAN] + b"".join(parts) + JPEG[SCAN:])


@given(st.lists(CHUNKS, max_size=2 * MOST_PARTS), st.booleans())
def test_pillow_has_little_to_do_for_any_png(chunks: list[tuple[bytes, bytes]], cut: bool) -> None:
    data = with_chunks(*chunks)
    assert_little_work(data[: len(data) // 2] if cut else data)


@given(st.sampled_from([JPEG, PNG]), st.data())
def test_pillow_has_little_to_do_for_damaged_files(data: bytes, draw: st.DataObject) -> None:
    broken = bytearray(data)
    for at in draw.draw(st.lists(st.integers(2, 700), max_size=8)):
        broken[at % len(data)] = draw.draw(st.integers(0, 255))
    assert_little_work(bytes(broken))
    with contextlib.suppress(MediaError):
        inspect(bytes(broken))
