"""Several HTTP processes behind one port."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from server import Server, serving

STREAMS = 64


async def streamed(client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[list[str], list[str | None], int]:
    """Texts and ends of the choices of a stream, and the tokens that its usage counts."""
    texts, ends = [""] * body["n"], [None] * body["n"]
    tokens = 0
    async with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                for choice in event["choices"]:
                    texts[choice["index"]] += choice["text"]
                    ends[choice["index"]] = choice["finish_reason"]
                tokens = event["usage"]["completion_tokens"] if event["usage"] else tokens
    return texts, ends, tokens  # type: ignore[return-value]


async def compare(server: Server) -> None:
    async with httpx.AsyncClient(
        base_url=f"http://{server.host}:{server.port}", timeout=200, limits=httpx.Limits(max_keepalive_connections=0)
    ) as client:
        bodies: list[dict[str, Any]] = []
        for number in range(STREAMS):
            body = {"prompt": [number + 3, 7, 9], "max_tokens": 20 + number, "n": 1 + number % 3, "ignore_eos": True}
            bodies.append({**body, "stream_options": {"include_usage": True}, "echo": number % 2 == 0})
        plain = [{key: value for key, value in body.items() if key != "stream_options"} for body in bodies]
        whole = [(await client.post("/v1/completions", json=body)).json() for body in plain]
        # A stop string that comes: letters out of the middle of what comes without it.
        for body, answer in zip(bodies[::4], whole[::4], strict=True):
            body["stop"] = [answer["choices"][0]["text"][30:36]]
        streams = await asyncio.gather(*(streamed(client, body) for body in bodies))
    for body, answer, (texts, ends, tokens) in zip(bodies, whole, streams, strict=True):
        for choice, text, end in zip(answer["choices"], texts, ends, strict=True):
            if "stop" in body:
                before, found, _ = choice["text"].partition(body["stop"][0])
                assert (text, end) == (before, "stop")
                assert found
            else:
                assert (text, end) == (choice["text"], "length")
        if "stop" not in body:
            assert tokens == answer["usage"]["completion_tokens"] == body["max_tokens"] * body["n"]


def test_streams_of_all_processes_say_what_whole_answers_say(tiny_folder: Path) -> None:
    with serving(str(tiny_folder), "--backend", "mock", "--http-workers", "2") as server:
        asyncio.run(compare(server))
        log = server.log.read_text()
        for name in ("http-0", "http-1"):
            assert f"{name} INFO POST /v1/completions 200" in log, f"{name} got none of the requests"
