"""Requests with images to the HTTP process of a model that sees: what is counted, and what is refused before a cache
manager or a router hears of it."""

from __future__ import annotations

import base64
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from helpers.http_process import HttpProcess, http_process
from helpers.pictures import encoded, gradient, oriented, png
from helpers.tiny_seeing import write_configs
from helpers.tiny_vl import write_vl_tokenizer

PLACE = "<|vision_start|><|image_pad|><|vision_end|>"
TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
IMAGES, BYTES, TOGETHER, PIXELS = 3, 30_000, 40_000, 1_000_000
PNG = encoded(gradient(64, 32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a caller may read."""
    folder = tmp_path_factory.mktemp("pictures") / "allowed"
    folder.mkdir()
    (folder / "a.png").write_bytes(PNG)
    (folder.parent / "secret.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    return folder


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[HttpProcess]:
    """One with low limits."""
    model = write_configs(tmp_path_factory.mktemp("models") / "seeing", "qwen2_5_vl")
    write_vl_tokenizer(model, TOKENS, PLACE)
    with (
        tempfile.TemporaryDirectory(prefix="http-") as run_dir,
        http_process(
            Path(run_dir),
            model,
            max_images=IMAGES,
            max_image_bytes=BYTES,
            max_request_image_bytes=TOGETHER,
            max_image_pixels=PIXELS,
            image_fetch_timeout=60.0,
            allowed_local_media_path=str(folder),
        ) as process,
    ):
        yield process


@pytest.fixture
def client(process: HttpProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=process.url, timeout=200) as client:
        yield client


def url_of(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def counted(client: httpx.Client, *urls: str, text: str = "", kind: str = "url") -> int:
    """Tokens that the server counts."""
    params = {"images": [{"type": kind, "data": url} for url in urls]}
    response = client.post("/tokens", json={"text": PLACE * len(urls) + text, "multimodal_params": params})
    assert response.status_code == 200, response.text
    return int(response.json()["ntokens"])


def chat_ids(client: httpx.Client, *parts: dict[str, Any]) -> list[int]:
    """Tokens of a chat."""
    response = client.post("/tokenize", json={"messages": [{"role": "user", "content": list(parts)}]})
    assert response.status_code == 200, response.text
    return list(response.json()["tokens"])


def part(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def refused(client: httpx.Client, *urls: str) -> dict[str, Any]:
    """The error of a chat and of a native request with these images; both say the same of their parts."""
    texts = [{"type": "text", "text": "What is it?"}]
    chat = {"messages": [{"role": "user", "content": texts + [part(url) for url in urls]}]}
    native = {"images": [{"type": "url", "data": url} for url in urls]}
    errors = []
    for path, body in (
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", {**chat, "stream": True}),
        ("/generate", {"inputs": PLACE * len(urls), "multimodal_params": native}),
        ("/generate_stream", {"inputs": PLACE * len(urls), "multimodal_params": native}),
        ("/tokens", {"text": PLACE * len(urls), "multimodal_params": native}),
    ):
        response = client.post(path, json=body)
        assert response.status_code == 400, (path, response.text)
        errors.append(response.json()["error"])
    first = errors[0]
    for error in errors:
        assert error["code"] == first["code"]
        assert error["type"] == "invalid_request_error"
        assert error["message"].partition(": ")[2] == first["message"].partition(": ")[2]
    assert client.get("/live").status_code == 200
    assert counted(client, url_of(PNG)) > 2, "the server goes on"
    return dict(first)


def test_the_tokens_of_images_are_counted(client: httpx.Client) -> None:
    text = counted(client, text="Hello")
    small, large = counted(client, url_of(PNG)), counted(client, url_of(encoded(gradient(640, 320))))
    assert 2 < small < large
    assert counted(client, url_of(PNG), text="Hello") == small + text
    assert counted(client, *[url_of(PNG)] * 2, text="Hello") == 2 * small + text
    assert counted(client, base64.b64encode(PNG).decode(), kind="base64") == small
    ids = chat_ids(client, {"type": "text", "text": "Hello"}, part(url_of(PNG)))
    assert len(ids) - len(chat_ids(client, {"type": "text", "text": "Hello"})) == small


def test_every_format_is_counted_by_its_size(client: httpx.Client) -> None:
    sizes = {
        counted(client, url_of(encoded(gradient(96, 64), format))) for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP")
    }
    assert len(sizes) == 1
    assert counted(client, url_of(encoded(gradient(96, 64), "TIFF"), "text/plain")) == sizes.pop()
    wide, tall = encoded(gradient(400, 56), "JPEG"), encoded(gradient(56, 400), "JPEG")
    turned = oriented(gradient(400, 56), 6, "JPEG")
    grids = [chat_ids(client, part(url_of(data))) for data in (wide, tall, turned)]
    assert len({len(grid) for grid in grids}) == 1


def test_detail(client: httpx.Client) -> None:
    data = url_of(encoded(Image.new("RGB", (2048, 56))))
    auto, low, high = (len(chat_ids(client, part(data, detail=detail))) for detail in ("auto", "low", "high"))
    assert low < auto == high
    small = url_of(encoded(Image.new("RGB", (512, 14))))
    assert low == len(chat_ids(client, part(small)))


def test_files_below_the_folder(client: httpx.Client, folder: Path) -> None:
    assert counted(client, f"file://{folder}/a.png") == counted(client, url_of(PNG))
    texts = set()
    for path in (f"{folder}/none.png", f"{folder}/link.png", f"{folder}/../secret.png", "/etc/passwd"):
        error = refused(client, f"file://{path}")
        assert error["param"] == "messages.0.content.1.image_url"
        texts.add(error["message"])
    assert len(texts) == 1
    assert str(folder) not in texts.pop()


BAD = {
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "page": (b"<!DOCTYPE html><html>", "web page"),
    "text": (b"hello", "no readable"),
    "empty": (b"", "empty"),
    "header": (PNG[:24], "damaged or cut off"),
    "bomb": (png(30_000, 30_000, 8, 0, b""), f"more than {PIXELS} pixels"),
    "gif bomb": (b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + b"\0\0\0,", "damaged|pixels"),
    "float": (encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point"),
    "bytes": (PNG + b"\0" * BYTES, f"larger than {BYTES} bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images(client: httpx.Client, name: str) -> None:
    data, says = BAD[name]
    error = refused(client, url_of(PNG), url_of(data))
    assert error["param"] == "messages.0.content.2.image_url"
    assert error["message"].startswith(error["param"] + ": ")
    assert any(text in error["message"] for text in says.split("|"))


def test_limits_of_a_prompt(client: httpx.Client, process: HttpProcess) -> None:
    error = refused(client, *[url_of(PNG)] * (IMAGES + 1))
    assert error["code"] == "too_many_images"
    large = PNG + b"\0" * (BYTES - len(PNG))
    error = refused(client, url_of(large), url_of(large))
    assert (error["code"], str(TOGETHER) in error["message"]) == ("image_too_large", True)


def test_places_and_images_must_match(client: httpx.Client) -> None:
    image = {"images": [{"type": "url", "data": url_of(PNG)}]}
    for inputs, params in (("no place", image), (PLACE * 2, image), (PLACE, None), (PLACE, {"images": []})):
        response = client.post("/generate", json={"inputs": inputs, "multimodal_params": params})
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"] == "inputs"
    chat = [{"type": "text", "text": "<|image_pad|>"}, part(url_of(PNG))]
    response = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": chat}]})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine that nobody may reach through the server, and who did."""
    heard: list[str] = []
    with socket.create_server(("0.0.0.0", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                heard.append(str(address))
                connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f.1",
        "017700000001",
    ],
)
def test_this_machine_is_never_asked(client: httpx.Client, listener: tuple[int, list[str]], host: str) -> None:
    port, heard = listener
    error = refused(client, f"http://{host}:{port}/a.png")
    assert error["param"] == "messages.0.content.1.image_url"
    assert error["code"] in ("image_fetch_failed", "invalid_image_url")
    assert not heard
    for word in ("127.0.0.1", "refused", "Errno", "socket", str(port)):
        assert word not in error["message"]


def test_other_addresses_that_are_not_public(client: httpx.Client) -> None:
    texts = {
        refused(client, f"http://{host}/latest/meta-data/")["message"]
        for host in ("169.254.169.254", "10.0.0.1", "192.168.1.1", "[fd00:ec2::254]", "no-such-host.invalid")
    }
    assert len(texts) == 1, "nobody learns what there is in this network"
