"""Sizes from headers and pixels from files, in every format."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers.pictures import encoded, gradient, oriented, png
from helpers.read_pictures import ODD_METADATA, OPTIONS, both, near, refused
from lightllm_rs.media import MediaError, decode, inspect
from lightllm_rs.media.formats import FORMATS


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 10_000), (10_000, 1), (257, 131)])
def test_formats_and_sizes(format: str, size: tuple[int, int]) -> None:
    image = gradient(*size)
    data = encoded(image, format, **OPTIONS.get(format, {}))
    assert inspect(data).format == format
    if format == "GIF":
        assert both(data).shape == (size[1], size[0], 3)  # 256 colours: another gradient
    else:
        assert near(both(data), np.asarray(image))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(format: str, orientation: int) -> None:
    data = oriented(gradient(24, 16), orientation, format)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)).convert("RGB"))
    if format != "TIFF":  # there Pillow turns it while it loads
        assert upright.size == ((24, 16) if orientation <= 4 else (16, 24))
    expected = gradient(24, 16)
    turns = {
        2: ["FLIP_LEFT_RIGHT"],
        3: ["ROTATE_180"],
        4: ["FLIP_TOP_BOTTOM"],
        5: ["ROTATE_270", "FLIP_LEFT_RIGHT"],
        6: ["ROTATE_270"],
        7: ["ROTATE_90", "FLIP_LEFT_RIGHT"],
        8: ["ROTATE_90"],
    }
    for turn in turns.get(orientation, []):
        expected = expected.transpose(Image.Transpose[turn])
    assert near(both(data), np.asarray(expected))


@ODD_METADATA
@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_orientation_that_nobody_can_read(exif: bytes) -> None:
    data = encoded(gradient(8, 4), "JPEG", exif=exif)
    assert both(data).shape == (4, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 77
    assert both(encoded(gradient(8, 4), "JPEG", exif=exif)).shape == (4, 8, 3)


def test_an_orientation_behind_the_pixels_does_not_count() -> None:
    """Only a whole decoding would find it, and the size must be known before."""
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = exif.tobytes()[6:]
    data = png(8, 4, 8, 0, (b"\0" + bytes(8)) * 4)
    body, end = data[:-12], data[-12:]
    late = struct.pack(">I", len(chunk)) + b"eXIf" + chunk + struct.pack(">I", zlib.crc32(b"eXIf" + chunk))
    assert both(body + late + end).shape == (4, 8, 3)
    early = png(8, 4, 8, 0, (b"\0" + bytes(8)) * 4, (b"eXIf", chunk))
    assert both(early).shape == (8, 4, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_modes_of_png(mode: str) -> None:
    image = gradient(16, 8).convert(mode)
    assert near(both(encoded(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("mode", "format"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("L", "JPEG")])
def test_other_modes(mode: str, format: str) -> None:
    image = gradient(16, 8).convert(mode)
    data = encoded(image, format, **({"quality": 100} if format == "JPEG" else {}))
    assert Image.open(io.BytesIO(data)).mode == mode
    assert near(both(data), np.asarray(image.convert("RGB")), 30)


def test_transparency_is_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    for format in ("PNG", "WEBP", "TIFF"):
        assert (both(encoded(clear, format, **OPTIONS.get(format, {}))) == 255).all()
    assert (both(encoded(Image.new("LA", (4, 4), (0, 0)))) == 255).all()
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    for format in ("PNG", "GIF"):
        assert (both(encoded(palette, format, transparency=0)) == 255).all()
    assert (both(encoded(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3))) == 255).all()
    assert (both(encoded(Image.new("L", (4, 4), 7), transparency=7)) == 255).all()
    half = both(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128))))
    assert near(half, np.full((4, 4, 3), 127), 1)


def test_16_bits() -> None:
    ramp = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    for format in ("PNG", "TIFF"):
        pixels = both(encoded(Image.fromarray(ramp), format))
        assert (pixels == (ramp >> 8)[:, :, None]).all(), "bright ones are not cut off"
    rows = b"".join(b"\0" + ramp[y].astype(">u2").repeat(3).tobytes() for y in range(8))
    assert (both(png(8, 8, 16, 2, rows)) == (ramp >> 8)[:, :, None]).all()
    rows = b"".join(b"\0" + np.stack([ramp[y], np.full(8, 65_535)], 1).astype(">u2").tobytes() for y in range(8))
    assert (both(png(8, 8, 16, 4, rows)) == (ramp >> 8)[:, :, None]).all()


def test_pixels_without_an_agreed_range_are_refused() -> None:
    for array in (np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int32)):
        refused(encoded(Image.fromarray(array), "TIFF"), "32-bit or floating-point")


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animated_pictures_give_their_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **OPTIONS.get(format, {}))
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert near(both(data), np.asarray(frames[0]))


def test_pictures_of_phones_with_several_pictures_in_one() -> None:
    images = [gradient(16, 8), gradient(8, 4)]
    data = encoded(images[0], "MPO", save_all=True, append_images=images[1:], quality=100, subsampling=0)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert inspect(data).format == "JPEG"
    assert near(both(data), np.asarray(images[0]))


def test_detail_low_makes_it_fit() -> None:
    data = encoded(gradient(1000, 300))
    for detail in ("auto", "high"):
        assert both(data, detail=detail).shape == (300, 1000, 3)
    pixels = both(data, detail="low")
    assert pixels.shape == (154, 512, 3)
    assert near(pixels, np.asarray(gradient(512, 154)), 4)
    assert both(encoded(gradient(1, 10_000)), detail="low").shape == (512, 1, 3)
    assert both(encoded(gradient(512, 20)), detail="low").shape == (20, 512, 3)
    assert both(oriented(gradient(1000, 300), 6, "JPEG"), detail="low").shape == (512, 154, 3)


def test_the_bound_of_pixels_is_exact() -> None:
    data = encoded(Image.new("1", (100, 100)))
    assert inspect(data, max_pixels=10_000).width == 100
    for read in (inspect, decode):
        with pytest.raises(MediaError, match="more than 9999 pixels") as error:
            read(data, max_pixels=9999)
        assert error.value.code == "image_too_large"


def test_many_threads_at_once() -> None:
    pictures = [encoded(gradient(40 + number, 30), "JPEG") for number in range(8)]
    alone = [np.asarray(decode(data)).tobytes() for data in pictures]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda number: np.asarray(decode(pictures[number % 8])).tobytes(), range(64)))
    assert together == alone * 8
