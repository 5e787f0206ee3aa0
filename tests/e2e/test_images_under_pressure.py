"""Many requests with images at once, on few pages, in small chunks, some given up: answers stay what they are alone."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.seeing_service import image_part, make_seeing_folder, noise, text_part
from lightllm_rs.replay import replay
from server import serving

PRESSURE = (
    "--kv-cache-tokens",
    "600",
    "--max-model-len",
    "560",
    "--page-size",
    "4",
    "--chunked-prefill-size",
    "13",
    "--max-num-seqs",
    "6",
)
FLAGS = (
    "--device",
    "cpu",
    "--mm-cache-size",
    "0.03",
    "--threads",
    "1",
    "--admission-policy",
    "aggressive",
    "--max-queued-requests",
    "500",
)
PROMPTS = 12
REQUESTS = 50


def prompt(number: int) -> list[dict[str, Any]]:
    """Text and up to three images, some of which other prompts have too, in places of its own."""
    draw = random.Random(number)
    parts: list[dict[str, Any]] = []
    for _ in range(draw.randrange(4)):
        if draw.random() < 0.7:
            parts.append(text_part("".join(draw.choice("abcdef ") for _ in range(draw.randrange(1, 40)))))
        seed = draw.randrange(5)
        parts.append(image_part(noise(40 + 17 * seed, 60 - 7 * seed, seed)))
    return [*parts, text_part(f"So what is number {number}?")]


async def ask(client: httpx.AsyncClient, number: int, n: int) -> list[str]:
    body = {"messages": [{"role": "user", "content": prompt(number)}], "temperature": 0, "n": n}
    answer = await client.post("/v1/chat/completions", json={**body, "max_tokens": 60, "ignore_eos": True})
    assert answer.status_code == 200, answer.text
    return [choice["message"]["content"] for choice in answer.json()["choices"]]


async def give_up(client: httpx.AsyncClient, number: int, seconds: float) -> None:
    task = asyncio.ensure_future(ask(client, number, 1))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("kind", ["qwen3_vl", "internvl"])
def test_answers_do_not_depend_on_what_else_runs(kind: str, tmp_path: Path) -> None:
    folder = make_seeing_folder(tmp_path / kind, kind)
    alone: list[list[str]] = []

    async def one_by_one(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            alone.extend([await ask(client, number, 1) for number in range(PROMPTS)])

    async def all_at_once(url: str) -> None:
        draw = random.Random(7)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None)) as client:

            async def one(number: int, n: int) -> None:
                assert await ask(client, number, n) == alone[number] * n

            tasks = []
            for _ in range(REQUESTS):
                number = draw.randrange(PROMPTS)
                work = one(number, draw.randrange(1, 3))
                if draw.random() < 0.2:
                    work.close()
                    work = give_up(client, number, draw.random() * 0.3)
                tasks.append(asyncio.ensure_future(work))
                await asyncio.sleep(draw.random() * 0.02)
            await asyncio.gather(*tasks)

    with serving(str(folder), *FLAGS) as server:
        asyncio.run(one_by_one(f"http://{server.host}:{server.port}"))
    journal = tmp_path / "journal"
    with serving(str(folder), *FLAGS, *PRESSURE, "--journal", str(journal)) as server:
        asyncio.run(all_at_once(f"http://{server.host}:{server.port}"))
    lines = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert any(line.get("image_ready", {}).get("found") for line in lines), "requests have waited for images"
    report = replay(journal)
    assert report.identical, report.first
