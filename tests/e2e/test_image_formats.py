"""Pictures of every format through the whole service: the same pixels give the same answer, bad ones harm nobody."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from helpers.pictures import encoded, gradient, oriented
from helpers.seeing_service import data_url, make_seeing_folder, noise, place_of_image
from server import Server, serving

KIND = "qwen2_5_vl"
FLAGS = ("--device", "cpu", "--mm-cache-size", "0.03", "--kv-cache-tokens", "8192", "--threads", "1")
PICTURE = noise(60, 40, 3)
LOSSLESS = {"WEBP": {"lossless": True}}
CLOSE = 1e-3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = make_seeing_folder(tmp_path_factory.mktemp("models") / KIND, KIND)
    with serving(str(folder), *FLAGS) as server:
        yield server


def asked(server: Server, *pictures: bytes) -> httpx.Response:
    """The answer to a native request with these pictures."""
    images = {"images": [{"type": "url", "data": data_url(data)} for data in pictures]}
    body = {
        "inputs": f"See {place_of_image(KIND) * len(pictures)} here",
        "multimodal_params": images,
        "parameters": {"max_new_tokens": 3, "ignore_eos": True, "return_details": True},
    }
    return httpx.post(f"http://{server.host}:{server.port}/generate", json=body, timeout=120)


def answer(server: Server, *pictures: bytes) -> dict[str, Any]:
    response = asked(server, *pictures)
    assert response.status_code == 200, response.text
    return dict(response.json())


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two answers saw the same."""
    if first["prompt_tokens"] != second["prompt_tokens"]:
        return False
    tokens = zip(first["tokens"], second["tokens"], strict=True)
    return all(a["id"] == b["id"] and abs(a["logprob"] - b["logprob"]) < CLOSE for a, b in tokens)


def changed(picture: Image.Image, format: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    return encoded(picture.convert(mode), format, **options)


def test_the_same_pixels_in_other_files(server: Server) -> None:
    right = answer(server, encoded(PICTURE))
    for format in ("WEBP", "BMP", "TIFF"):
        assert same(answer(server, encoded(PICTURE, format, **LOSSLESS.get(format, {}))), right), format
    assert same(answer(server, changed(PICTURE, mode="RGBA")), right)
    upright = PICTURE.transpose(Image.Transpose.ROTATE_90)  # orientation 6 turns it back
    for format in ("PNG", "WEBP", "TIFF"):
        assert same(answer(server, oriented(upright, 6, format)), right), format
    assert not same(answer(server, encoded(noise(60, 40, 4))), right)
    assert not same(answer(server, oriented(PICTURE, 3, "PNG")), right)


def test_grey_in_all_depths(server: Server) -> None:
    grey = PICTURE.convert("L")
    right = answer(server, encoded(grey.convert("RGB")))
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    for data in (encoded(grey), changed(grey, mode="LA"), encoded(wide), encoded(wide, "TIFF"), encoded(grey, "GIF")):
        assert same(answer(server, data), right)


def test_the_first_frame(server: Server) -> None:
    right = answer(server, encoded(PICTURE))
    frames = {"save_all": True, "append_images": [noise(60, 40, 5)]}
    for format in ("PNG", "WEBP", "TIFF"):
        assert same(answer(server, encoded(PICTURE, format, **frames, **LOSSLESS.get(format, {}))), right), format


@pytest.mark.parametrize("size", [(1, 1), (28, 1), (3, 200), (150, 1)])
def test_odd_sizes(server: Server, size: tuple[int, int]) -> None:
    for data in (encoded(gradient(*size)), encoded(gradient(*size), "JPEG")):
        assert answer(server, data)["count_output_tokens"] == 3


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1)])
def test_ribbons_are_refused(server: Server, size: tuple[int, int]) -> None:
    """Qwen's processor takes sides of up to 200 to 1."""
    response = asked(server, encoded(gradient(*size)))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "multimodal_params.images.0"
    assert "200" in response.json()["error"]["message"]


def broken() -> dict[str, bytes]:
    """Good headers, and nothing good behind them."""
    files = {format: encoded(noise(64, 48), format) for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")}
    cut = {f"{format} cut off": data[: len(data) // 2] for format, data in files.items()}
    data = files["PNG"]
    overwritten = data[: len(data) // 3] + b"\xa5" * 200 + data[len(data) // 3 + 200 :]
    late = io.BytesIO(files["BMP"])
    late.seek(10)
    late.write(struct.pack("<I", 1 << 30))
    return {**cut, "BMP elsewhere": late.getvalue(), "PNG overwritten": overwritten}


@pytest.mark.parametrize("name", broken())
def test_what_only_decoding_finds(server: Server, name: str) -> None:
    good = encoded(PICTURE)
    for _ in range(2):  # also the second time, when the image cache may know of it
        response = asked(server, good, broken()[name])
        assert response.status_code == 400, response.text
        error = response.json()["error"]
        assert error["param"] == "multimodal_params.images.1"
        assert "damaged or cut off" in error["message"]
    assert answer(server, good)["count_output_tokens"] == 3
