"""Whatever happens to requests, their pages and slots come back."""

from __future__ import annotations

import asyncio
import random
import time

import httpx

from helpers.metrics_page import metrics_page
from server import Server


def gauges(url: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in metrics_page(url).splitlines() if line and not line.startswith("#"))
    return {name.partition("{")[0]: float(value) for name, value in lines}


def settled(server: Server) -> dict[str, float]:
    """The gauges once nothing runs or waits."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        values = gauges(f"http://{server.host}:{server.port}")
        if values["vllm:num_requests_running"] == values["vllm:num_requests_waiting"] == 0:
            return values
        time.sleep(0.2)
    raise AssertionError("requests are still running")


async def leave_in_the_middle(server: Server, streams: int) -> None:
    draw = random.Random(3)
    url = f"http://{server.host}:{server.port}"
    async with httpx.AsyncClient(base_url=url, timeout=200, limits=httpx.Limits(max_connections=streams)) as client:

        async def one(number: int) -> None:
            body = {"prompt": [draw.randrange(3, 300) for _ in range(20)], "max_tokens": 400, "ignore_eos": True}
            async with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as response:
                seen = 0
                async for _ in response.aiter_lines():
                    seen += 1
                    if seen > number % 7:
                        return

        await asyncio.gather(*(one(number) for number in range(streams)))


def test_clients_that_leave_free_their_pages(tiny_server: Server) -> None:
    before = settled(tiny_server)
    asyncio.run(leave_in_the_middle(tiny_server, 120))
    after = settled(tiny_server)
    assert after["lightllm_pages_running"] == 0
    assert after["lightllm_pages_total"] == before["lightllm_pages_total"]
    assert after["vllm:kv_cache_usage_perc"] == 0
