"""Output tokens a second of the whole stack but the model, for two versions in one run.

The mock backend takes no time for a step, so what is measured is HTTP, tokeniser, text, router and IPC. Versions take
turns, and each figure is the median of its rounds. The client counts bytes and events without parsing them, in
processes of its own, and checks that each stream says how many tokens it had and that it is done.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence

from server import serving

TAIL_BYTES = 1024
"""Of each answer, in which the usage and the end have to be."""


class Reader(asyncio.Protocol):
    """Sends one request and counts what comes until the server closes the connection."""

    def __init__(self, request: bytes, ended: asyncio.Future[Reader]) -> None:
        self._request, self._ended = request, ended
        self.events = 0
        self.tail = b""

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b"data: {")
        self.tail = (self.tail + data)[-TAIL_BYTES:]

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(self)


def request_of(prompt: str, tokens: int) -> bytes:
    """A streamed completion over HTTP/1.1."""
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True}
    data = json.dumps({**body, "stream_options": {"include_usage": True}}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data


async def stream_all(port: int, requests: Sequence[bytes], streams: int, tokens: int) -> int:
    """Runs all requests, `streams` at a time. Returns the events that came."""
    loop = asyncio.get_running_loop()
    waiting = list(requests)
    events = 0

    async def worker() -> None:
        nonlocal events
        while waiting:
            request, ended = waiting.pop(), loop.create_future()
            await loop.create_connection(lambda r=request, e=ended: Reader(r, e), "127.0.0.1", port)
            reader = await ended
            if b"data: [DONE]" not in reader.tail or b'"completion_tokens":%d,' % tokens not in reader.tail:
                raise RuntimeError(f"a stream was cut off: {reader.tail!r}")
            events += reader.events

    await asyncio.gather(*(worker() for _ in range(streams)))
    return events


def client(port: int, requests: Sequence[bytes], streams: int, tokens: int, start: float) -> tuple[float, int]:
    """One client process: begins at `start` of time.monotonic(). Returns when it ended, and the events."""
    time.sleep(max(0.0, start - time.monotonic()))
    try:
        import uvloop
    except ImportError:
        events = asyncio.run(stream_all(port, requests, streams, tokens))
    else:
        events = uvloop.run(stream_all(port, requests, streams, tokens))
    return time.monotonic(), events


def measure(port: int, options: argparse.Namespace, label: str, tokens: int, requests: int) -> tuple[float, float]:
    """Output tokens a second of one run, and events a token."""
    words = "The quick brown fox jumps over the lazy dog. " * options.prompt_sentences
    work = [request_of(f"{label} {number} {words}", tokens) for number in range(requests)]
    count = options.clients
    start = time.monotonic() + 0.5
    with multiprocessing.Pool(count) as pool:
        parts = [(port, work[at::count], options.streams // count, tokens, start) for at in range(count)]
        results = pool.starmap(client, parts, chunksize=1)
    wall = max(end for end, _ in results) - start
    return requests * tokens / wall, sum(events for _, events in results) / (requests * tokens)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", help="python/ folder of another version, with its compiled part in it")
    parser.add_argument("--workers", default="1", help="HTTP processes of this version, separated by commas")
    parser.add_argument("--tokens", default="128,1024", help="lengths of outputs, separated by commas")
    parser.add_argument("--output-tokens", type=int, default=200_000, help="of one run, all streams together")
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--clients", type=int, default=1, help="processes")
    parser.add_argument("--prompt-sentences", type=int, default=12, help="of 10 tokens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("flags", nargs="*", help="further flags of the server, after --")
    options = parser.parse_args()

    versions = [("here", int(count), None) for count in options.workers.split(",")]
    if options.against:
        versions.insert(0, ("other", 1, options.against))
    found: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
    for round_number in range(options.rounds):
        for name, workers, folder in versions:
            environment = dict(os.environ) if folder is None else {**os.environ, "PYTHONPATH": folder}
            flags = ("--backend", "mock", "--max-num-seqs", str(options.streams), "--http-workers", str(workers))
            with serving(*flags, *options.flags, environment=environment) as server:
                measure(server.port, options, "warm", 16, options.streams)
                for tokens in map(int, options.tokens.split(",")):
                    requests = max(options.streams, options.output_tokens // tokens)
                    figures = measure(server.port, options, f"{round_number}", tokens, requests)
                    found.setdefault((name, workers, tokens), []).append(figures)
    print("| version | HTTP processes | tokens a stream | output tokens/s (median) | range | events a token |")
    print("|---|---|---|---|---|---|")
    for (name, workers, tokens), runs in found.items():
        rates = [rate for rate, _ in runs]
        events = statistics.median(events for _, events in runs)
        middle = statistics.median(rates)
        print(
            f"| {name} | {workers} | {tokens} | {middle:,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | {events:.2f} |"
        )


if __name__ == "__main__":
    main()
