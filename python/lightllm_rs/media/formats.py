"""Pictures of the six formats, by Pillow: their size from the header, and their pixels.

`inspect` runs in an HTTP process and `decode` in a visual server; they must agree on the size, as the prompt has been
laid out by it before anything is decoded.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import logging
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import (  # the plugins by name: Pillow would load all that it has to find one of them
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    _imaging,
)

from lightllm_rs.media.errors import MediaError
from lightllm_rs.media.headers import check_header, orientation_of
from lightllm_rs.media.sources import Detail

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)

MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "I;16", "I;16L", "I;16B"}
)
"""Pillow's names of pixels that have an agreed meaning in 8 bits. 32-bit and floating-point ones have none."""

PIXELS = 50_000_000
DIGEST_BYTES = 32
LOW_SIDE = 512
"""With `detail` low a picture is made to fit into a square of so many pixels."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what brings the picture upright."""

_BEGINNINGS = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_DAMAGED = "the image is damaged or cut off"

# What Pillow warns of (odd metadata, large pictures) is either refused here or of no account; callers must not fill the
# log with it.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
with contextlib.suppress(OSError, AttributeError):  # a Pillow without libtiff, or with one that is linked into it
    # libtiff writes what it dislikes to the standard error, a line for each row of pixels: gigabytes for one picture.
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


@dataclass(frozen=True)
class Picture:
    """An encoded picture and what its header says.

    Attributes:
        data: as it came.
        digest: of the data, see `digest_of`.
        width, height: pixels of what `decode` makes of it.
        detail: as asked for; part of what `decode` does.
        format: one of FORMATS.
        original_pixels: what decoding it costs.
    """

    data: bytes
    digest: bytes
    width: int
    height: int
    detail: Detail
    format: str
    original_pixels: int


def digest_of(data: bytes) -> bytes:
    """BLAKE2b: 32 bytes. Takes about 0.8 ms a megabyte."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def inspect(
    data: bytes,
    detail: Detail = "auto",
    max_pixels: int = PIXELS,
    digest: bytes | None = None,
    *,
    plain: bool = False,
) -> Picture:
    """Reads the header. Raises MediaError for anything but a picture of moderate size.

    Args:
        digest: of the data, if it is known.
        plain: whether the header is known to be: `check_header` has nothing against those.
    """
    if not plain:
        check_header(data)
    with _opened(data, max_pixels) as image:
        width, height = _fitted(_upright_size(image), detail)
        name = "JPEG" if image.format == "MPO" else str(image.format)
        pixels = image.size[0] * image.size[1]
    return Picture(data, digest or digest_of(data), width, height, detail, name, pixels)


def decode(data: bytes | memoryview, detail: Detail = "auto", max_pixels: int = PIXELS) -> Image.Image:
    """The picture in RGB, upright, its transparent parts white, of the size that `inspect` says.

    Raises MediaError. May run in any thread; the interpreter is free for others most of the time.
    """
    data = bytes(data)
    check_header(data)
    with _opened(data, max_pixels) as image:
        size = _upright_size(image)
        turn = _turn(image)  # before the pixels: what stands behind them in the file does not count
        try:
            image.load()
            upright = _rgb(image)
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception:  # a broken file makes the plugins raise anything at all
            raise MediaError(_DAMAGED) from None
        if turn is not None:
            upright = upright.transpose(turn)
        if upright.size != size:
            raise MediaError("the image does not have the size that its header says")
        fitted = _fitted(size, detail)
        return upright if fitted == size else upright.resize(fitted, Image.Resampling.BICUBIC)


def _opened(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
    except UnidentifiedImageError:
        raise MediaError(_what_it_is(data[:512])) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(max_pixels) from None
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception:
        raise MediaError(_DAMAGED) from None
    if width * height > max_pixels:
        raise _too_many_pixels(max_pixels)
    if image.mode not in MODES:
        raise MediaError("the image has 32-bit or floating-point pixels: send 8 or 16 bits a channel")
    return image


def _too_many_pixels(limit: int) -> MediaError:
    return MediaError(f"the image has more than {limit} pixels", "image_too_large")


def _what_it_is(head: bytes) -> str:
    if head.startswith(_BEGINNINGS):
        return _DAMAGED
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "the image is empty"
    if text.startswith((b"<svg", b"<?xml", b"<!doctype svg")):
        return "the image is a drawing (SVG), and only pixels can be read: send it as PNG"
    if text.startswith((b"<!doctype html", b"<html")):
        return "this is a web page and no image: give the address of the image itself"
    return "this is no readable PNG, JPEG, WebP, GIF, BMP or TIFF image"


def _turn(image: Image.Image) -> Image.Transpose | None:
    if image.format == "TIFF":
        return None  # Pillow does it itself there, size included
    # Not Pillow's getexif: it would decode a PNG first, to look behind the pixels, and read far more than this.
    exif = image.info.get("exif")
    profile = image.info.get("Raw profile type exif")
    if exif is None and isinstance(profile, str):  # as ImageMagick writes it: a name, a length, and hexadecimal digits
        with contextlib.suppress(ValueError):
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
    return _TURNS.get(orientation_of(exif)) if isinstance(exif, bytes) else None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    turn = _turn(image)
    swaps = (
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
    )
    return (height, width) if turn in swaps else (width, height)


def _fitted(size: tuple[int, int], detail: Detail) -> tuple[int, int]:
    longer = max(size)
    if detail != "low" or longer <= LOW_SIDE:
        return size
    width, height = (max(1, round(side * LOW_SIDE / longer)) for side in size)
    return width, height


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would cut off at 255; of RGB with 16 bits it keeps the upper byte, and so do we.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")
