"""Bodies and heads that are none get a clear error, and the others are served on."""

from __future__ import annotations

import gzip
import json
import socket
from typing import Any

import httpx
import pytest

from helpers.http_process import HttpProcess
from helpers.refusals import CHAT, COMPLETIONS, GENERATE, JSON, refused


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"not json", "JSON"),
        (b'{"prompt": "\xff\xfe"}', "JSON"),
        (b'{"prompt": "\\ud800"}', "JSON"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "JSON"),
        (b"[1, 2]", "object"),
        (b'"text"', "object"),
        (b"null", "object"),
    ],
)
def test_what_is_no_object_in_json(process: HttpProcess, client: httpx.Client, body: bytes, says: str) -> None:
    for path in (CHAT, COMPLETIONS, GENERATE, "/tokenize"):
        assert says in refused(client, path, body)["message"]


def test_other_content_types(process: HttpProcess, client: httpx.Client) -> None:
    for headers in ({"Content-Type": "text/plain"}, {}):
        response = client.post(COMPLETIONS, content=b'{"prompt": "Hi"}', headers=headers)
        assert response.status_code == 400
        assert "application/json" in response.json()["error"]["message"]
    response = client.post(
        COMPLETIONS, content=b'{"prompt": "Hi"}', headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert response.status_code == 200


def test_compressed_bodies(process: HttpProcess, client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = client.post(COMPLETIONS, content=gzip.compress(b'{"prompt": "Hi"}'), headers=headers)
    assert response.status_code == 400
    assert "Content-Encoding" in response.json()["error"]["message"]


def test_too_large_a_body(process: HttpProcess, client: httpx.Client) -> None:
    refused(client, COMPLETIONS, b'{"prompt": "' + b"x" * (16 << 20) + b'"}', 413)

    def endless() -> Any:
        for _ in range(40):
            yield b"x" * (1 << 20)

    response = client.post(COMPLETIONS, content=endless(), headers=JSON)  # chunked: no length is announced
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


def test_long_lists_of_the_wrong_things_are_refused_at_the_first(process: HttpProcess, client: httpx.Client) -> None:
    wrong = [{}] * 1_000_000
    assert refused(client, "/detokenize", {"tokens": wrong})["param"] == "tokens"
    assert refused(client, COMPLETIONS, {"prompt": wrong})["param"] == "prompt"
    assert refused(client, CHAT, {"messages": wrong})["param"].startswith("messages")


def test_what_is_not_http(process: HttpProcess, client: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", process.port)) as other:
        other.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = b""
        while part := other.recv(4096):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "invalid_http"
    assert client.get("/live").status_code == 200


def test_too_long_a_head(process: HttpProcess, client: httpx.Client) -> None:
    try:
        response = client.get("/v1/models", headers={"X-Long": "x" * (1 << 20)})
        assert response.status_code == 400
    except httpx.TransportError:
        pass  # cut off in the middle of the head, which is as good
    assert client.get("/v1/models").status_code == 200
