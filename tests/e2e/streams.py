"""256 different requests, asked all at once and one by one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import httpx

from server import Server

STREAMS = 256
CLOSE_LOGITS = 1e-3
"""Products round differently with the batch, so a different token passes where the two best are this close."""


@dataclass
class Answer:
    tokens: list[str]
    top: list[dict[str, float]]
    text: str


def bodies() -> list[dict[str, Any]]:
    """Prompts of many lengths; some share a prefix of several pages, some are sampled, some penalised."""
    draw = random.Random(11)
    shared = [draw.randrange(3, 300) for _ in range(70)]
    requests = []
    for number in range(STREAMS):
        own = [draw.randrange(3, 300) for _ in range(draw.randrange(1, 90))]
        body: dict[str, Any] = {
            "prompt": shared[: draw.choice((16, 33, 70))] + own if number % 3 == 0 else own,
            "max_tokens": draw.randrange(4, 40),
            "temperature": 0,
            "logprobs": 2,
            "ignore_eos": number % 5 != 0,
        }
        if number % 4 == 1:
            body |= {"temperature": 0.8, "top_p": 0.95, "top_k": 50, "seed": number}
        if number % 8 == 3:
            body |= {"presence_penalty": 0.5, "frequency_penalty": 0.25, "repetition_penalty": 1.1}
        requests.append(body)
    return requests


async def ask(client: httpx.AsyncClient, body: dict[str, Any], stream: bool) -> Answer:
    answer = Answer([], [], "")

    def take(choice: dict[str, Any]) -> None:
        answer.text += choice["text"]
        if choice.get("logprobs"):
            answer.tokens += choice["logprobs"]["tokens"]
            answer.top += choice["logprobs"]["top_logprobs"]

    if not stream:
        response = await client.post("/v1/completions", json=body)
        assert response.status_code == 200, response.text
        take(response.json()["choices"][0])
        return answer
    async with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                event = httpx.Response(200, content=line[6:]).json()
                assert "error" not in event, event
                for choice in event["choices"]:
                    take(choice)
    return answer


async def scenario(server: Server) -> tuple[list[Answer], list[Answer]]:
    limits = httpx.Limits(max_connections=STREAMS)
    url = f"http://{server.host}:{server.port}"
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=200) as client:
        together = await asyncio.gather(*(ask(client, body, stream=True) for body in bodies()))
        alone = [await ask(client, body, stream=False) for body in bodies()]
    return together, alone


def check_same(together: list[Answer], alone: list[Answer]) -> None:
    """Each text is the one got alone, but for tokens whose two best logits nearly tie."""
    close_calls = 0
    for number, (one, other) in enumerate(zip(together, alone, strict=True)):
        assert len(other.tokens) > 0
        if one.tokens == other.tokens:
            assert one.text == other.text
            continue
        at = next(i for i, (a, b) in enumerate(zip(one.tokens, other.tokens, strict=False)) if a != b)
        best = sorted(other.top[at].values(), reverse=True)
        assert best[0] - best[1] < CLOSE_LOGITS, f"stream {number} differs at token {at}: {best}"
        close_calls += 1
    assert close_calls < STREAMS / 20
