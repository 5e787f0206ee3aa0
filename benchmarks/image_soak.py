"""Random images, aborts and killed processes for some minutes, in an image cache that is much too small for them.

    python benchmarks/image_soak.py [--minutes 10] [--model FOLDER] [-- FLAGS OF serve]

Callers ask at random: new images and old ones, several a request, some of them broken; a fifth of the callers leaves
early. Now and then a visual server, the cache manager or the HTTP process is killed. In the end every request must have
been answered, and nothing may be left: no lease, no waiter, no request, no page of the KV cache. How long the slowest
request that lost its images with a cache manager waited for that answer is printed: it should be 2 s at most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil

from images import image_part, text_part
from server import Server, serving

CALLERS, IMAGES = 24, 300
KILL_SECONDS = 25.0
"""From one killed process to the next; HTTP comes around no oftener than the supervisor stands it."""

KILLED = ("visual 0", "cache", "http 0")
ANSWER_SECONDS = 60.0
GOOD = {200, 400, 429, 503}
LOST = {"images_lost", "image_cache"}
"""`code` of an answer to a request that has lost its images with the cache manager."""

USED, IDLE = "lightllm_mm_cache_used_bytes", "lightllm_mm_cache_idle_bytes"
HELD = "bytes of the image cache that somebody holds"
LEFT = {
    "lightllm_mm_cache_leases": 0.0,
    "lightllm_mm_cache_waiters": 0.0,
    "lightllm_mm_cache_queue": 0.0,
    "vllm:num_requests_running": 0.0,
    "vllm:num_requests_waiting": 0.0,
    "lightllm_pages_running": 0.0,
    HELD: 0.0,
}


class Soak:
    """The callers, and what came of their requests.

    Attributes:
        seen: requests by status; "left" for callers that left, "cut" where the HTTP process was killed.
        lost_seconds: from the end of a cache manager to the answers of requests that it failed.
    """

    def __init__(self, url: str, seed: int) -> None:
        self.seen: Counter[str] = Counter()
        self._url = url
        self._draw = random.Random(seed)
        self._pictures = [self._picture(number) for number in range(IMAGES)]
        self.killed_at = self.cache_killed_at = 0.0
        self.lost_seconds: list[float] = []

    def _picture(self, number: int) -> str:
        from helpers.seeing_service import data_url, noise, png

        draw = self._draw
        data = png(noise(draw.randrange(8, 160), draw.randrange(8, 160), number))
        return data_url(data[: len(data) // 2] if number % 40 == 0 else data)

    async def caller(self, until: float) -> None:
        """Asks until the time is over."""
        draw = self._draw
        async with httpx.AsyncClient(base_url=self._url, timeout=ANSWER_SECONDS) as client:
            while time.monotonic() < until:
                number = int(IMAGES * draw.random() ** 2)  # some come often
                parts = [text_part(f"Look {draw.random()}")]
                parts += [
                    image_part(self._pictures[(number + more) % IMAGES]) for more in range(draw.choice((1, 1, 2, 4)))
                ]
                if draw.random() < 0.2:
                    parts = parts[:1]
                body = {"messages": [{"role": "user", "content": parts}], "max_tokens": draw.randrange(1, 30)}
                await self._ask(client, body, draw.uniform(0.0, 0.2) if draw.random() < 0.2 else None)

    async def _ask(self, client: httpx.AsyncClient, body: dict[str, Any], patience: float | None) -> None:
        began = time.monotonic()
        try:
            answer = await asyncio.wait_for(client.post("/v1/chat/completions", json=body), patience)
        except asyncio.TimeoutError:
            self.seen["left"] += 1
            return
        except httpx.TimeoutException:
            raise RuntimeError(f"a request was not answered in {ANSWER_SECONDS} s") from None
        except httpx.HTTPError:
            if self.killed_at < began - 5.0:
                raise
            self.seen["cut"] += 1
            await asyncio.sleep(0.2)
            return
        if answer.status_code not in GOOD:
            raise RuntimeError(f"{answer.status_code}: {answer.text}")
        self.seen[str(answer.status_code)] += 1
        if answer.status_code == 503:
            if answer.json()["error"]["code"] in LOST and began < self.cache_killed_at:
                self.lost_seconds.append(time.monotonic() - self.cache_killed_at)
            await asyncio.sleep(0.2)

    async def killer(self, server: Server, until: float) -> None:
        """Kills a process now and then."""
        number = 0
        while time.monotonic() + KILL_SECONDS < until:
            await asyncio.sleep(KILL_SECONDS)
            title = f"lightllm-rs: {KILLED[number % len(KILLED)]}"
            number += 1
            for child in psutil.Process(server.process.pid).children(recursive=True):
                if child.cmdline()[:1] == [title]:
                    self.killed_at = time.monotonic()
                    if title.endswith("cache"):
                        self.cache_killed_at = self.killed_at
                    os.kill(child.pid, signal.SIGKILL)
                    self.seen[f"killed {title.partition(' ')[2]}"] += 1

    async def run(self, server: Server, seconds: float) -> None:
        """All of it."""
        until = time.monotonic() + seconds
        await asyncio.gather(self.killer(server, until), *[self.caller(until) for _ in range(CALLERS)])


def figures(url: str) -> dict[str, float]:
    """What is left."""
    from helpers.metrics_page import metrics_page, total

    page = metrics_page(url)
    return {name: total(page, name) for name in LEFT if name != HELD} | {HELD: total(page, USED) - total(page, IDLE)}


def main() -> None:
    """Prints JSON, or fails."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from helpers.seeing_service import make_seeing_folder

    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--model")
    flags.add_argument("--minutes", type=float, default=10.0)
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("rest", nargs="*")
    arguments = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or str(make_seeing_folder(Path(folder) / "tiny", "internvl"))
        small = ("--mm-cache-size", "0.0005", "--log-level", "warning", *arguments.rest)  # 0.5 MiB
        with serving(model, *small) as server:
            url = f"http://{server.host}:{server.port}"
            soak = Soak(url, arguments.seed)
            asyncio.run(soak.run(server, 60.0 * arguments.minutes))
            deadline = time.monotonic() + 20.0
            while (left := figures(url)) != LEFT and time.monotonic() < deadline:
                time.sleep(0.5)
            lost = {"requests": len(soak.lost_seconds), "slowest_s": max(soak.lost_seconds, default=0.0)}
            print(json.dumps({"requests": dict(soak.seen), "lost_with_a_cache_manager": lost, "left": left}, indent=1))
            if left != LEFT:
                print(server.log.read_text()[-4000:])
                raise SystemExit("something is left")


if __name__ == "__main__":
    main()
