"""`lightllm-rs bench latency`: seconds of one batch through router and backends, without HTTP and text."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from lightllm_rs.bench.engine import random_asks, running
from lightllm_rs.bench.phases import say_phase
from lightllm_rs.bench.progress import bar
from lightllm_rs.settings import ServeSettings

PERCENTILES = (10, 25, 50, 75, 90, 99)


def run(parsed: argparse.Namespace, settings: ServeSettings) -> int:
    """Prints mean and percentiles. Returns the exit code. Raises BenchError.

    All requests of a batch leave at once; what is timed is the last token of the last one. Prompts are random and new
    in each iteration, so that nothing is in the prefix cache.
    """
    seconds = []
    rounds = parsed.num_iters_warmup + parsed.num_iters
    with running(settings, say_phase) as engine, bar(rounds, "batch", parsed.disable_tqdm) as progress:
        for number in range(rounds):
            asks = random_asks(engine.limits, parsed.batch_size, parsed.input_len, parsed.output_len, number)
            took = engine.generate(asks, parsed.temperature, lambda done: None)
            progress(1)
            if number >= parsed.num_iters_warmup:
                seconds.append(took)
    array = np.array(seconds)
    result = {
        "avg_latency": float(array.mean()),
        "latencies": seconds,
        "percentiles": {str(percentile): float(np.percentile(array, percentile)) for percentile in PERCENTILES},
        "batch_size": parsed.batch_size,
        "input_len": parsed.input_len,
        "output_len": parsed.output_len,
    }
    print(f"Avg latency: {result['avg_latency']:.4f} seconds")
    for percentile in PERCENTILES:
        print(f"{percentile}% percentile latency: {float(np.percentile(array, percentile)):.4f} seconds")
    if parsed.output_json is not None:
        Path(parsed.output_json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"saved as {parsed.output_json}", file=sys.stderr)
    return 0
