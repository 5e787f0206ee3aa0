"""Streams that are slow, silent or lost."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Generator
from pathlib import Path

import httpx

from helpers.http_process import HttpProcess, http_process
from helpers.router_scripts import Step, never, says, token_logprobs
from lightllm_rs.messages import requests
from lightllm_rs.messages.frames import pack_u32


def open_stream(process: HttpProcess, receive_buffer: int = 0, **body: object) -> socket.socket:
    """A stream whose reader is the test."""
    reader = socket.socket()
    if receive_buffer:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    reader.connect(("127.0.0.1", process.port))
    data = json.dumps({"prompt": "Hi", "stream": True, **body}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    reader.sendall(head.encode() + b"\r\n\r\n" + data)
    return reader


def test_a_silent_stream_gets_comments(run_dir: Path, tiny_folder: Path) -> None:
    with (
        http_process(run_dir, tiny_folder, keepalive_seconds=0.2) as process,
        httpx.Client(base_url=process.url, timeout=60) as client,
    ):
        process.script = never
        with client.stream("POST", "/v1/completions", json={"prompt": "Hi", "stream": True}) as response:
            assert response.status_code == 200
            lines = response.iter_lines()
            comments = [next(lines) for _ in range(4)]
        assert comments[0] == comments[2] == ": keep-alive"
        process.wait(lambda: len(process.aborts) == 1)


def test_a_reader_that_stalls_is_cut_off_and_the_others_are_not(run_dir: Path, tiny_folder: Path) -> None:
    with (
        http_process(run_dir, tiny_folder, stream_stall_timeout=0.5) as process,
        httpx.Client(base_url=process.url, timeout=60) as client,
    ):
        endless = says("word " * 240, ends=False)

        def script(add: requests.Add) -> Generator[Step, None, None]:
            # The stalled stream's tokens carry long lists, and fill the sockets' buffers.
            return endless(add) if add.max_tokens < 200 else chatter(add)

        process.script = script
        process.pace = 0.002
        stalled = open_stream(process, receive_buffer=4096, max_tokens=250, logprobs=20, n=8)
        process.wait(lambda: len(process.adds) == 8)
        answer = client.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 100})
        assert answer.json()["usage"]["completion_tokens"] == 100
        process.wait(lambda: process.counter("request_failure") == 1, "it was not cut off")
        process.wait(lambda: not process.live, "the stalled requests are still alive")
        stalled.close()
        assert client.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 3}).status_code == 200


def chatter(add: requests.Add) -> Generator[Step, None, None]:
    """Tokens with long log-probability lists, again and again."""
    while True:
        yield requests.OutputRow(add.request, pack_u32([70]), logprobs=[token_logprobs(70, 20)])


def test_a_slow_reader_gets_its_text_in_larger_pieces(process: HttpProcess) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 4
    process.script = says(text, ends=False)
    reader = open_stream(process, receive_buffer=2048, max_tokens=240)
    time.sleep(0.3)
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        part = reader.recv(512)
        assert part
        received += part
    reader.close()
    texts = [
        json.loads(line.removeprefix(b"data: "))["choices"][0]["text"]
        for line in received.split(b"\n")
        if line.startswith(b"data: {")
    ]
    assert "".join(texts) == text


def test_all_requests_under_way_fail_when_the_engine_goes_and_new_ones_wait(
    process: HttpProcess, client: httpx.Client
) -> None:
    process.script = says("word " * 200, ends=False)
    process.pace = 0.05
    results: list[httpx.Response] = []
    begun = threading.Semaphore(0)

    def ask(stream: bool) -> None:
        body = {"prompt": "Hi", "stream": stream, "max_tokens": 200}
        with (
            httpx.Client(base_url=process.url, timeout=60) as other,
            other.stream("POST", "/v1/completions", json=body) as response,
        ):
            begun.release()
            response.read()
            results.append(response)

    threads = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    process.wait(lambda: process.live == 6)
    for _ in range(3):
        assert begun.acquire(timeout=60), "a stream has not begun"
    process.engine_down("the backend was killed")
    for thread in threads:
        thread.join()
    streams = [result for result in results if result.headers["content-type"].startswith("text/event-stream")]
    others = [result for result in results if result not in streams]
    assert len(streams) == len(others) == 3
    for result in others:
        assert result.status_code == 503
        assert result.headers["retry-after"]
        assert "the backend was killed" in result.json()["error"]["message"]
    for result in streams:
        *_, error, done = [line for line in result.text.split("\n\n") if line]
        assert done == "data: [DONE]"
        assert json.loads(error.removeprefix("data: "))["error"]["code"] == "engine_lost"
    refused = client.post("/v1/completions", json={"prompt": "Hi"})
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert client.get("/ready").text == "loading"
    process.engine_up()
    process.wait(lambda: client.get("/ready").status_code == 200)
    process.reset()
    assert client.post("/v1/completions", json={"prompt": "Hi"}).json()["choices"][0]["text"] == "Hello world"


def test_many_streams_at_once(process: HttpProcess) -> None:
    text = "The quick brown fox jumps over the lazy dog."
    process.script = says(text)
    readers = [open_stream(process, max_tokens=100) for _ in range(128)]
    for reader in readers:
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            part = reader.recv(65536)
            assert part
            received += part
        reader.close()
        events = [line.removeprefix(b"data: ") for line in received.split(b"\n") if line.startswith(b"data: {")]
        assert "".join(json.loads(event)["choices"][0]["text"] for event in events) == text


def test_the_router_hears_how_much_was_taken_in(process: HttpProcess, client: httpx.Client) -> None:
    before = process.received
    client.post("/v1/completions", json={"prompt": "Hi"})
    process.wait(lambda: process.received > before)
