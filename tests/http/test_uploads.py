"""Bodies that come slowly, all at once or in vain."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from helpers.http_process import HttpProcess, http_process

HEAD = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


@pytest.fixture
def full(run_dir: Path, tiny_folder: Path) -> Iterator[HttpProcess]:
    """A server with uploads that stand still, as many as it takes in together."""
    limit = 128 << 10
    with http_process(run_dir, tiny_folder, max_body_bytes=limit) as process:
        stalled = []
        for _ in range(17):
            other = socket.create_connection(("127.0.0.1", process.port))
            other.sendall(HEAD.format(limit).encode() + b"x" * (limit - 1))
            stalled.append(other)
        yield process
        for other in stalled:
            other.close()


def test_small_bodies_pass_while_large_ones_stand_still(full: HttpProcess) -> None:
    with httpx.Client(base_url=full.url, timeout=60) as client:
        large = json.dumps({"prompt": "Hi", "metadata": {"x": "x" * (100 << 10)}})

        def refused() -> bool:
            answer = client.post("/v1/completions", content=large, headers={"Content-Type": "application/json"})
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] == "overloaded"
            return answer.status_code == 503

        full.wait(refused, "large bodies are taken in without end")
        assert client.post("/v1/completions", json={"prompt": "Hi"}).status_code == 200


def test_a_refusal_in_the_middle_of_an_upload_closes_the_connection(process: HttpProcess) -> None:
    for head in (HEAD.format(1 << 30), HEAD.format(1 << 30).replace("/v1/completions", "/nothing")):
        with socket.create_connection(("127.0.0.1", process.port), timeout=60) as other:
            other.sendall(head.encode() + b"x" * (1 << 20))
            answer = b""
            while part := other.recv(65536):
                answer += part
        assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 404"))
        assert b"connection: close" in answer.lower()
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_a_refusal_of_a_small_body_keeps_the_connection(process: HttpProcess) -> None:
    with socket.create_connection(("127.0.0.1", process.port), timeout=60) as other:
        for _ in range(2):
            other.sendall(HEAD.format(2).encode() + b"{}")
            answer = b""
            while not answer.endswith(b"}}"):  # head and body may come apart
                answer += other.recv(65536)
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"connection: close" not in answer.lower()
