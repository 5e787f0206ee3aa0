"""Long prompts beside streams that decode: how long do they hold up the others' next token?

Some clients decode all the time; meanwhile prompts of a length come one after the other. Reported are the pauses of the
decoding clients while a long prompt was being computed, and while none was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from lightllm_rs.bench.datasets import RandomLengths, random_prompts
from lightllm_rs.bench.outcome import Outcome
from lightllm_rs.bench.prompts import load_named_tokenizer
from load import run_arrivals, run_load
from server import Server, serving

DECODE_PROMPT = 128
TEXT = {"100": 100}
"""Every token is this one, which has a text: random ones may be parts of a letter, which is sent when it is whole."""

IDLE_SECONDS = 7.0
"""For the server to capture the kinds of steps that a start leaves for later."""


def run(server: Server, options: argparse.Namespace) -> list[Outcome]:
    """The outcomes of the clients that decode, then of those with long prompts. Raises RuntimeError if one failed."""
    tokenizer = load_named_tokenizer(options.tokenizer or options.model)
    short = random_prompts(tokenizer, options.clients + 1, RandomLengths(DECODE_PROMPT, options.output, 0.0, 0), 1)
    long = random_prompts(tokenizer, options.prompts, RandomLengths(options.prompt, 4, 0.0, 0), 2)

    def body(text: str, tokens: int) -> dict[str, object]:
        return {"prompt": text, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "logit_bias": TEXT}

    run_load(server.host, server.port, [body(short[-1].text, 16)], 1)  # warm
    time.sleep(IDLE_SECONDS)
    bodies = [body(prompt.text, options.output) for prompt in short[:-1]] + [body(prompt.text, 4) for prompt in long]
    at = [0.0] * options.clients + [options.after + index * options.every for index in range(options.prompts)]
    outcomes, _ = run_arrivals(server.host, server.port, bodies, at)
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed:
        raise RuntimeError(f"{len(failed)} requests failed, the first with: {failed[0]}")
    return outcomes


def pauses(decoding: Iterable[Outcome], busy: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Seconds between tokens of the clients that decode: (those that touch a time of `busy`, the others)."""
    beside, alone = [], []
    for outcome in decoding:
        ends = list(accumulate(outcome.gaps, initial=outcome.first))
        for start, end in pairwise(ends):
            touches = any(start < last and end > first for first, last in busy)
            (beside if touches else alone).append(end - start)
    return beside, alone


def main() -> int:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder with config.json and tokenizer.json")
    parser.add_argument("--tokenizer", help="of another folder")
    parser.add_argument("--prompt", type=int, default=32_000, help="tokens of a long prompt")
    parser.add_argument("--prompts", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64, help="clients that decode")
    parser.add_argument("--output", type=int, default=1500, help="tokens that each of them decodes")
    parser.add_argument("--after", type=float, default=3.0, help="seconds until the first long prompt")
    parser.add_argument("--every", type=float, default=4.0, help="seconds from one long prompt to the next")
    parser.add_argument("--save", type=Path, help="file for the figures")
    parser.add_argument("flags", nargs="*", help="further flags of the server, after --")
    options = parser.parse_args()

    with serving(options.model, "--load-format", "dummy", *options.flags) as server:
        outcomes = run(server, options)
    decoding, prompts = outcomes[: options.clients], outcomes[options.clients :]
    beside, alone = pauses(decoding, [(prompt.began, prompt.first) for prompt in prompts])
    if not beside or not alone:
        print("the long prompts came too early or too late: change --after, --every or --output", file=sys.stderr)
        return 1
    figures = {"prompt_tokens": prompts[0].prompt_tokens, "ttft_ms": 1e3 * statistics.median(p.ttft for p in prompts)}
    for name, seconds in (("beside", beside), ("alone", alone)):
        p50, p99, most = 1e3 * np.quantile(seconds, [0.5, 0.99, 1.0])
        figures |= {f"itl_{name}_p50_ms": p50, f"itl_{name}_p99_ms": p99, f"itl_{name}_max_ms": most}
    text = json.dumps({name: round(float(value), 2) for name, value in figures.items()}, indent=1)
    if options.save:
        options.save.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
