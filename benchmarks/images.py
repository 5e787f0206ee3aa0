"""Requests with images: how many encodings they cost, what a hit adds to the time to the first token, chats at once.

    python benchmarks/images.py [--model FOLDER | --shape qwen2.5-vl-7b] [--parts PART,PART] [-- FLAGS OF serve]

Without a model, one of InternVL's form with random weights is made: large enough that a prompt takes a while on a CPU.
`--shape` makes a folder of Qwen2.5-VL-7B's shape without weights, for `-- --load-format dummy` on a GPU.

single-flight: 1,000 requests over 50 pictures, 64 at once, which must cost 50 encodings exactly.
first-token: in turn, a prompt with one of these pictures and a prompt of as many tokens of text, one request at a time;
no two of these prompts share a page.
chats: one new picture of 1024 x 1024 alone, some times; then 32 of them at once.
beside-text: eight streams of text alone, beside prompts of text, and beside as long ones with new pictures.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from image_models import SIDE, make_model, make_shape
from lightllm_rs.bench.load import Load, run_load
from lightllm_rs.bench.outcome import Outcome, Prompt
from lightllm_rs.bench.target import CHAT, Target, target_of
from server import Server, serving

REQUESTS, PICTURES, AT_ONCE = 1000, 50, 64
CHATS, LARGE_SIDE, ANSWER = 32, 1024, 64
STREAMS, STREAM_TOKENS = 8, 256
PARTS = ("single-flight", "first-token", "chats", "beside-text")
TIMEOUT = 600.0
IDLE_SECONDS = 7.0
"""In which a backend on a GPU captures the graphs for which its start has not waited, some 40 ms each: a request that
comes meanwhile waits for one."""

ENCODED = "lightllm_visual_images_total"
EXTRA = {"temperature": 0, "ignore_eos": True, "logit_bias": {"100": 100}}
"""The answer's first token is one that has a text, whatever the model."""

WORDS = ["the", "a", "of", "to", "in", "and", "it", "is", "on", "as", "at", "by", "we", "he", "so", "or", "if", "up"]


@dataclass(frozen=True)
class PartsTarget(Target):
    """Sends prompts whose text is the JSON of content parts."""

    def request(self, prompt: Prompt) -> bytes:
        plain = super().request(prompt)
        head, _, payload = plain.partition(b"\r\n\r\n")
        body = json.loads(payload)
        body["messages"] = [{"role": "user", "content": json.loads(prompt.text)}]
        payload = json.dumps(body).encode()
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(payload), b"", b""]) + payload


def picture(seed: int, side: int = SIDE) -> str:
    """A `data:` URL of a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(out, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def image_part(url: str) -> dict[str, Any]:
    """A content part."""
    return {"type": "image_url", "image_url": {"url": url}}


def text_part(text: str) -> dict[str, Any]:
    """A content part."""
    return {"type": "text", "text": text}


def metric(server: Server, name: str) -> float:
    """The present value of a metric without labels."""
    with urllib.request.urlopen(f"http://{server.host}:{server.port}/metrics") as answer:
        page = answer.read().decode()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name:
                return sample.value
    raise LookupError(name)


def ask(target: Target, contents: Sequence[list[dict[str, Any]]], tokens: int, at_once: int) -> list[Outcome]:
    """Sends chats of one message each. Raises RuntimeError if one fails."""
    prompts = [Prompt(json.dumps(content), 0, tokens) for content in contents]
    outcomes, _ = run_load(Load(target, prompts, [0.0] * len(prompts), at_once, TIMEOUT))
    for outcome in outcomes:
        if outcome.error:
            raise RuntimeError(f"a request failed: {outcome.error}")
    return outcomes


def single_flight(server: Server, target: Target, urls: Sequence[str], draw: random.Random) -> dict[str, Any]:
    """The first part."""
    before = metric(server, ENCODED)
    contents = [[image_part(draw.choice(urls)), text_part(f"What is that, {number}?")] for number in range(REQUESTS)]
    for content, url in zip(contents, urls, strict=False):  # each at least once
        content[0] = image_part(url)
    draw.shuffle(contents)
    seconds = span(ask(target, contents, 1, AT_ONCE))
    encoded = metric_after(server, before)
    return {"requests": REQUESTS, "pictures": len(urls), "encodings": encoded, "requests a second": REQUESTS / seconds}


def span(outcomes: Sequence[Outcome]) -> float:
    """Seconds from the first request to the last answer."""
    return max(outcome.last for outcome in outcomes) - min(outcome.began for outcome in outcomes)


def metric_after(server: Server, before: float) -> int:
    """Encodings since `before`, once the visual servers have told all."""
    last = -1.0
    while (now := metric(server, ENCODED) - before) != last:
        last = now
        time.sleep(2.5)  # figures are sent once a second
    return int(now)


def first_tokens(
    server: Server, target: Target, urls: Sequence[str], rounds: int, draw: random.Random
) -> dict[str, Any]:
    """The second part."""
    with_image: list[float] = []
    with_text: list[float] = []
    tokens: list[tuple[int, int]] = []
    for number in range(rounds):
        lead = " ".join(draw.choices(WORDS, k=16))
        (seen,) = ask(target, [[text_part(lead), image_part(urls[number % len(urls)])]], 1, 1)
        (read,) = ask(target, [[text_part(text_of(server, seen.prompt_tokens, draw))]], 1, 1)
        with_image.append(seen.ttft)
        with_text.append(read.ttft)
        tokens.append((seen.prompt_tokens, read.prompt_tokens))
    assert all(abs(left - right) <= 4 for left, right in tokens), tokens
    image, text = statistics.median(with_image), statistics.median(with_text)
    differences = [left - right for left, right in zip(with_image, with_text, strict=True)]
    return {
        "prompt tokens": statistics.median(left for left, _ in tokens),
        "TTFT ms, picture in the cache": 1e3 * image,
        "TTFT ms, text alone": 1e3 * text,
        "ratio": image / text,
        "median of the differences, ms": 1e3 * statistics.median(differences),
    }


def chats(target: Target, rounds: int) -> dict[str, Any]:
    """The third part."""
    urls = [picture(10_000 + seed, LARGE_SIDE) for seed in range(CHATS + rounds + 1)]
    contents = [[image_part(url), text_part("What is that?")] for url in urls]
    ask(target, contents[:1], ANSWER, 1)
    alone = [ask(target, [content], ANSWER, 1)[0].ttft for content in contents[1 : rounds + 1]]
    together = ask(target, contents[rounds + 1 :], ANSWER, CHATS)
    first = sorted(outcome.ttft for outcome in together)
    seconds = span(together)
    return {
        "prompt tokens": together[0].prompt_tokens,
        "TTFT ms, one alone": 1e3 * statistics.median(alone),
        "TTFT ms of 32 at once, median": 1e3 * statistics.median(first),
        "TTFT ms of 32 at once, last": 1e3 * first[-1],
        "pictures a second until the last first token": CHATS / first[-1],
        "output tokens a second": sum(outcome.output_tokens for outcome in together) / seconds,
    }


def beside_text(server: Server, target: Target, draw: random.Random) -> dict[str, Any]:
    """The fourth part."""
    lead = [[text_part(f"Tell me about number {number}.")] for number in range(STREAMS)]
    images = [[image_part(picture(50_000 + seed, LARGE_SIDE))] for seed in range(65)]
    (seen,) = ask(target, images[-1:], 1, 1)
    words = text_of(server, seen.prompt_tokens, draw)
    texts = [[text_part(f"{' '.join(draw.choices(WORDS, k=8))} {words}")] for _ in images]

    def gaps_beside(others: Sequence[list[dict[str, Any]]]) -> tuple[float, float]:
        ended = threading.Event()

        def load() -> None:
            for start in range(0, len(others), STREAMS):
                if not ended.is_set():
                    ask(target, others[start : start + STREAMS], 1, STREAMS)

        with ThreadPoolExecutor(1) as thread:
            loading = thread.submit(load)
            outcomes = ask(target, lead, STREAM_TOKENS, STREAMS)
            ended.set()
            loading.result()
        return gaps(outcomes)

    gaps_beside([])
    alone, beside_texts = gaps_beside([]), gaps_beside(texts[:-1])
    before = metric(server, ENCODED)
    beside_images = gaps_beside(images[:-1])
    return {
        "ITL ms alone, median and p99": alone,
        "beside prompts of as many tokens of text": beside_texts,
        "beside prompts with new pictures": beside_images,
        "pictures": metric_after(server, before),
    }


def gaps(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """Milliseconds between two events of a stream: median and 99th percentile."""
    found = 1e3 * np.concatenate([outcome.gaps for outcome in outcomes])
    return round(float(np.median(found)), 2), round(float(np.percentile(found, 99)), 2)


def text_of(server: Server, tokens: int, draw: random.Random) -> str:
    """Words whose chat prompt has so many tokens."""
    words = draw.choices(WORDS, k=tokens)
    low, high = 1, len(words)
    while low < high:
        middle = (low + high) // 2
        if count(server, " ".join(words[:middle])) < tokens:
            low = middle + 1
        else:
            high = middle
    return " ".join(words[:low])


def count(server: Server, text: str) -> int:
    """Tokens of a chat prompt."""
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(
        f"http://{server.host}:{server.port}/tokenize", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return int(json.load(answer)["count"])


def main() -> None:
    """Prints JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--model")
    flags.add_argument("--shape", choices=["qwen2.5-vl-7b"])
    flags.add_argument("--parts", default="single-flight,first-token")
    flags.add_argument("--rounds", type=int, default=40)
    flags.add_argument("rest", nargs="*")
    arguments = flags.parse_args()
    parts = arguments.parts.split(",")
    if not set(parts) <= set(PARTS):
        raise SystemExit(f"parts are {', '.join(PARTS)}")
    draw = random.Random(7)
    urls = [picture(seed) for seed in range(PICTURES)]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / (arguments.shape or "internvl-like")
        model = arguments.model or str(make_shape(made) if arguments.shape else make_model(made))
        with serving(model, *arguments.rest) as server:
            plain = target_of(f"http://{server.host}:{server.port}", CHAT, None, EXTRA)
            table = server.log.read_text().partition("Ready at")[0].splitlines()
            found["start"] = [line.strip() for line in table if line.startswith(("  backend", "  visual", "  cache"))]
            target = PartsTarget(plain.host, plain.port, plain.tls, plain.path, plain.model, plain.extra)
            if "single-flight" in parts:
                found["single flight"] = single_flight(server, target, urls, draw)
            if "first-token" in parts:
                ask(target, [[image_part(url)] for url in urls], 1, 1)
                time.sleep(IDLE_SECONDS)
                found["first token"] = first_tokens(server, target, urls, arguments.rounds, draw)
            if "chats" in parts:
                found["chats"] = chats(target, arguments.rounds)
            if "beside-text" in parts:
                found["beside text"] = beside_text(server, target, draw)
    print(json.dumps(found, indent=1))
    if "single-flight" in parts and found["single flight"]["encodings"] != PICTURES:
        raise SystemExit("a picture was encoded more than once, or not at all")


if __name__ == "__main__":
    main()
