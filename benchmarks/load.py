"""A small load client: streams completions over raw HTTP/1.1, so that the client costs as little as possible."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Stream:
    """What one streamed request saw. Times are seconds of `time.perf_counter`."""

    began: float
    first: float = 0.0
    ended: float = 0.0
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    text: str = ""
    error: str = ""


async def stream_completion(host: str, port: int, body: dict[str, object]) -> Stream:
    """Sends one streaming request to /v1/completions and reads it to its end."""
    payload = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
    )
    result = Stream(began=time.perf_counter())
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    writer.write(head.encode() + payload)
    await writer.drain()
    last = 0.0
    status = await reader.readline()
    if b" 200 " not in status:
        result.error = (status + await reader.read()).decode(errors="replace")
        writer.close()
        return result
    async for line in reader:
        if not line.startswith(b"data: {"):
            continue
        now = time.perf_counter()
        event = json.loads(line[6:])
        if "error" in event:
            result.error = event["error"]["message"]
            break
        if event.get("usage"):
            result.tokens = event["usage"]["completion_tokens"]
        if event["choices"]:
            result.text += event["choices"][0]["text"]
            if not result.first:
                result.first = now
            else:
                result.gaps.append(now - last)
            last = now
    result.ended = time.perf_counter()
    writer.close()
    return result


async def run_load(host: str, port: int, bodies: Sequence[dict[str, object]], concurrency: int) -> list[Stream]:
    """Runs all requests, `concurrency` at a time, in order."""
    waiting = list(enumerate(bodies))[::-1]
    results: list[Stream | None] = [None] * len(bodies)

    async def worker() -> None:
        while waiting:
            index, body = waiting.pop()
            results[index] = await stream_completion(host, port, body)

    await asyncio.gather(*(worker() for _ in range(min(concurrency, len(bodies)))))
    return [result for result in results if result is not None]


async def run_arrivals(host: str, port: int, bodies: Sequence[dict[str, object]], at: Sequence[float]) -> list[Stream]:
    """Sends each request at its time, in seconds from now, whatever has become of those before."""
    began = time.perf_counter()

    async def one(body: dict[str, object], due: float) -> Stream:
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        return await stream_completion(host, port, body)

    return await asyncio.gather(*(one(body, due) for body, due in zip(bodies, at, strict=True)))


def summary(results: Sequence[Stream]) -> dict[str, float]:
    """Figures of a run: tokens a second over the whole run, and times in milliseconds."""
    good = [result for result in results if not result.error]
    if not good:
        raise RuntimeError(f"no request succeeded; the first error: {results[0].error if results else 'none sent'}")
    wall = max(result.ended for result in good) - min(result.began for result in good)
    gaps = [gap for result in good for gap in result.gaps] or [0.0]
    ttft = [result.first - result.began for result in good]
    return {
        "requests": len(good),
        "errors": len(results) - len(good),
        "output_tokens": sum(result.tokens for result in good),
        "output_tokens_per_second": sum(result.tokens for result in good) / wall,
        "requests_per_second": len(good) / wall,
        "ttft_ms_mean": 1e3 * statistics.fmean(ttft),
        "ttft_ms_p50": 1e3 * statistics.median(ttft),
        "itl_ms_mean": 1e3 * statistics.fmean(gaps),
        "itl_ms_p50": 1e3 * statistics.median(gaps),
        "e2e_ms_p50": 1e3 * statistics.median(result.ended - result.began for result in good),
    }
