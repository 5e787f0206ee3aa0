"""Requests with images to the HTTP process of a model that takes none, and image parameters of the wrong shape."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from helpers.http_process import HttpProcess
from helpers.image_parts import DATA, image, text

CHAT, GENERATE = "/v1/chat/completions", "/generate"


@pytest.mark.parametrize("url", [DATA, "https://example.org/a.png", "http://127.0.0.1/", "file:///etc/passwd", "x"])
@pytest.mark.parametrize("path", [CHAT, "/tokenize"])
def test_a_text_model_refuses_images_of_chats(process: HttpProcess, client: httpx.Client, path: str, url: str) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "user", "content": [text("What is it?"), image(url)]}]
    error = client.post(path, json={"messages": turns}).json()["error"]
    assert error["param"] == "messages.1.content.1.image_url"
    assert error["code"] == "unsupported"
    assert "this model takes no images" in error["message"]
    assert not process.adds


@pytest.mark.parametrize("path", [GENERATE, "/generate_stream", "/tokens"])
@pytest.mark.parametrize("kind", ["url", "base64"])
def test_a_text_model_refuses_images_of_native_requests(
    process: HttpProcess, client: httpx.Client, path: str, kind: str
) -> None:
    params = {"images": [{"type": kind, "data": DATA}]}
    response = client.post(path, json={"inputs": "Hi", "text": "Hi", "multimodal_params": params})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "multimodal_params.images.0"
    assert error["code"] == "unsupported"
    assert not process.adds


@pytest.mark.parametrize("params", [None, {}, {"images": []}, {"images": None}, {"images": [], "audios": []}])
def test_no_images_are_no_images(process: HttpProcess, client: httpx.Client, params: Any) -> None:
    for path in (GENERATE, "/generate_stream", "/tokens"):
        response = client.post(path, json={"inputs": "Hi", "text": "Hi", "multimodal_params": params})
        assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("params", "param"),
    [
        (5, "multimodal_params"),
        ({"images": 5}, "multimodal_params.images"),
        ({"images": [1]}, "multimodal_params.images.0"),
        ({"images": [{"data": "x"}]}, "multimodal_params.images.0.type"),
        ({"images": [{"type": "image_size", "data": "x"}]}, "multimodal_params.images.0.type"),
        ({"images": [{"type": "url"}]}, "multimodal_params.images.0.data"),
        ({"images": [{"type": "url", "data": [1, 2]}]}, "multimodal_params.images.0.data"),
        ({"audios": [{"type": "url", "data": "x"}]}, "multimodal_params.audios"),
        ({"images": [{"type": "url", "data": "x"}] * 10_001}, "multimodal_params.images"),
    ],
)
def test_native_parameters_of_the_wrong_shape(
    process: HttpProcess, client: httpx.Client, params: Any, param: str
) -> None:
    for path in (GENERATE, "/tokens"):
        response = client.post(path, json={"inputs": "Hi", "text": "Hi", "multimodal_params": params})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param
