"""`lightllm-rs bench throughput`: all requests at once through router and backends, without HTTP and text.

The processes are those of `serve`: the figures have the scheduler, the wire and the backend in them, and nothing else.
Prompts are turned into ids before the clock starts, and ids are not turned into text.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import msgspec

from lightllm_rs.bench.engine import Ask, Engine, random_asks, running
from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.outcome import Prompt
from lightllm_rs.bench.phases import say_phase
from lightllm_rs.bench.progress import bar
from lightllm_rs.bench.prompts import load_named_tokenizer, prompts_of
from lightllm_rs.checkpoint.demo import DEMO_NAME
from lightllm_rs.settings import ServeSettings
from lightllm_rs.tokenizer import TextTokenizer

WARM_REQUESTS, WARM_INPUT, WARM_OUTPUT = 4, 32, 4


def run(parsed: argparse.Namespace, settings: ServeSettings) -> int:
    """Prints requests and tokens a second. Returns the exit code. Raises BenchError."""
    tokenizer = load_named_tokenizer(settings.tokenizer or settings.model or DEMO_NAME)
    prompts = prompts_of(parsed, tokenizer, parsed.num_prompts, settings.seed)
    asks = _asks(tokenizer, prompts)
    # All wait at once here; a server would refuse some.
    roomy = msgspec.structs.replace(
        settings,
        max_queued_requests=max(settings.max_queued_requests, len(asks)),
        max_queued_tokens=max(settings.max_queued_tokens, sum(len(ask.ids) for ask in asks)),
    )
    with running(roomy, say_phase) as engine:
        _check(engine, asks)
        engine.generate(
            random_asks(engine.limits, WARM_REQUESTS, WARM_INPUT, WARM_OUTPUT, 0), parsed.temperature, lambda done: None
        )
        with bar(len(asks), "req", parsed.disable_tqdm) as progress:
            seconds = engine.generate(asks, parsed.temperature, progress)
    input_tokens, output_tokens = sum(len(ask.ids) for ask in asks), sum(ask.output_tokens for ask in asks)
    result = {
        "elapsed_time": seconds,
        "num_requests": len(asks),
        "total_num_tokens": input_tokens + output_tokens,
        "total_input_tokens": input_tokens,
        "total_output_tokens": output_tokens,
        "requests_per_second": len(asks) / seconds,
        "tokens_per_second": (input_tokens + output_tokens) / seconds,
        "output_tokens_per_second": output_tokens / seconds,
    }
    print(
        f"Throughput: {result['requests_per_second']:.2f} requests/s, "
        f"{result['tokens_per_second']:.2f} total tokens/s, {result['output_tokens_per_second']:.2f} output tokens/s"
    )
    print(f"Total num prompt tokens:  {input_tokens}\nTotal num output tokens:  {output_tokens}")
    if parsed.output_json is not None:
        Path(parsed.output_json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"saved as {parsed.output_json}", file=sys.stderr)
    return 0


def _asks(tokenizer: TextTokenizer, prompts: list[Prompt]) -> list[Ask]:
    return [Ask(tokenizer.encode(prompt.text), prompt.output_tokens) for prompt in prompts]


def _check(engine: Engine, asks: list[Ask]) -> None:
    longest = max(len(ask.ids) + ask.output_tokens for ask in asks)
    if longest > engine.limits.context:
        raise BenchError(f"a request of {longest} tokens is longer than the context of {engine.limits.context}")
