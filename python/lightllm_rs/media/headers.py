"""Headers that would cost more than they are worth: refused before Pillow reads them.

Pillow bounds the pixels of a picture, and not the work of finding out how many it has: it walks over the parts of a
header in Python, adds comments up in quadratic time, and keeps a copy of what each entry of a directory points to, also
if all of them point to the same megabytes. libjpeg goes over all pixels once for each scan, however short it is.
"""

from __future__ import annotations

import re
import struct

from lightllm_rs.media.errors import MediaError

MOST_PARTS = 65_536
"""Of a header; of a PNG file in all: libpng writes one for 8 KiB of pixels."""

MOST_SCANS = 100
"""Of a progressive JPEG, which has about ten; libtiff has the same bound."""

MOST_JUNK = 65_536
"""Bytes between the parts of a JPEG header."""

MOST_COMMENT = 1 << 19
"""Bytes before the first frame of a GIF."""

MOST_EXIF = 16
"""Segments of Exif in a JPEG; nearly all have one."""

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Not a stuffed byte (00), a restart (d0 to d7) or a fill byte (ff)."""

_ORIENTATION = 0x0112
_WORDS = {3: "H", 4: "I"}
"""Whole numbers in a directory."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type in a TIFF directory."""


def check_header(data: bytes) -> None:
    """Raises MediaError for a header that would take too long to read."""
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data)
    elif data.startswith(b"\x89PNG"):
        _check_png(data)
    elif data.startswith(b"GIF8"):
        _check_gif(data)
    elif data.startswith((b"II", b"MM")):
        _check_directory(data)


def orientation_of(exif: bytes) -> int:
    """The orientation that Exif data gives, 1 (upright) if there is none that can be read."""
    tiff = exif.removeprefix(b"Exif\0\0")
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for number in range(entries):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, at + 2 + 12 * number)
            if tag == _ORIENTATION and kind in _WORDS:
                (value,) = struct.unpack_from(order + _WORDS[kind], tiff, at + 10 + 12 * number)
                return int(value)
    except (KeyError, struct.error):
        pass
    return 1


def _too_much(what: str) -> MediaError:
    return MediaError(f"the image's header has too many {what}")


def _check_jpeg(data: bytes) -> None:
    many = data.count(b"\xff\xda") > MOST_SCANS  # a fast question, to which nearly all files say no
    at, junk, scans = 2, 0, 0
    exif: list[bytes] = []
    for _ in range(MOST_PARTS):
        found = _MARKER.search(data, at)
        if found is None or found.end() + 2 > len(data):
            return
        marker, start = data[found.end() - 1], found.end()
        junk += 0 if scans else found.start() - at
        if junk > MOST_JUNK:
            raise _too_much("bytes between its parts")
        at = start
        if marker in (0x01, 0xD8):
            continue
        if marker == 0xD9:
            return
        at += int.from_bytes(data[start : start + 2], "big")
        if marker == 0xDA:
            scans += 1
            if scans > MOST_SCANS:
                raise _too_much("scans")
            if not many:
                return
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start + 2):
            exif.append(data[start + 8 : at])
            if len(exif) > MOST_EXIF:
                raise _too_much("segments of Exif")
            _check_directory(b"".join(exif))
        elif marker == 0xE2 and data.startswith(b"MPF\0", start + 2):
            _check_directory(data[start + 6 : at])
    raise _too_much("parts")


def _check_png(data: bytes) -> None:
    at = 8
    for _ in range(MOST_PARTS):
        if at + 8 > len(data) or data[at + 4 : at + 8] == b"IEND":
            return
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    raise _too_much("parts")


def _check_gif(data: bytes) -> None:
    if len(data) < 13:
        return
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    end = min(len(data), at + MOST_COMMENT)
    while at < end:
        if data[at] == 0x2C:  # a frame
            return
        if data[at] != 0x21:  # no extension: Pillow looks at the next byte
            at += 1
            continue
        at += 2
        while at < end and data[at]:
            at += 1 + data[at]
        at += 1
    if end < len(data):
        raise _too_much("bytes before its first frame")


def _check_directory(tiff: bytes) -> None:
    """The entries of the first directory may point to the same bytes a few times, and not again and again."""
    order = ">" if tiff.startswith(b"MM") else "<"
    most = max(4 * len(tiff), 1 << 22)
    size = 0
    try:
        if tiff[2:4] in (b"+\0", b"\0+"):  # BigTIFF
            (at,) = struct.unpack_from(f"{order}Q", tiff, 8)
            (entries,) = struct.unpack_from(f"{order}Q", tiff, at)
            at, form = at + 8, struct.Struct(f"{order}HHQQ")
        else:
            (at,) = struct.unpack_from(f"{order}I", tiff, 4)
            (entries,) = struct.unpack_from(f"{order}H", tiff, at)
            at, form = at + 2, struct.Struct(f"{order}HHII")
        for number in range(min(entries, MOST_PARTS)):
            _, kind, count, _ = form.unpack_from(tiff, at + number * form.size)
            size += min(_SIZES.get(kind, 0) * count, len(tiff))
            if size > most:
                raise _too_much("bytes in its directory")
    except (struct.error, OverflowError):
        return  # cut off, or an offset that no file has: Pillow says so
    if entries > MOST_PARTS:
        raise _too_much("entries")
