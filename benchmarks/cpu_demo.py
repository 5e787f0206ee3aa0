"""The demo model on CPU: this server against `transformers` generate on the same weights, in one run.

Each side runs alone, the two in turn, several rounds; medians are reported. Prompts are the same, greedy, with the end
of text ignored, so that all generate the same number of tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from load import run_load, summary
from server import serving

SUBJECTS = ("sea", "winter", "bread", "Rome", "bees", "glass", "moon", "tea")
MORE_SUBJECTS = ("rivers", "trains", "salt", "maps", "wool", "clocks", "rice", "bridges")
PROMPTS = [
    f"Question {number}: tell me something about {subject}, in a few sentences, please."
    for number, subject in enumerate(SUBJECTS + MORE_SUBJECTS)
]

PAD = 2


def transformers_rates(path: Path, dtype: str, tokens: int) -> dict[str, float]:
    """Tokens a second of `generate`: one prompt alone, and a static batch of 16, padded on the left."""
    import torch

    from lightllm_rs.tokenizer.load import load_tokenizer
    from transformers_demo import demo_in_transformers

    tokenizer = load_tokenizer(path)
    model = demo_in_transformers(path, getattr(torch, dtype))
    rates = {}
    for label, prompts in (("alone", PROMPTS[:1]), ("batch", PROMPTS)):
        ids = [tokenizer.encode(prompt) for prompt in prompts]
        width = max(map(len, ids))
        padded = torch.tensor([[PAD] * (width - len(row)) + row for row in ids])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
        options: dict[str, Any] = {"attention_mask": mask, "do_sample": False, "pad_token_id": PAD}
        with torch.inference_mode():
            model.generate(padded, **options, min_new_tokens=4, max_new_tokens=4)
            began = time.perf_counter()
            model.generate(padded, **options, min_new_tokens=tokens, max_new_tokens=tokens)
        rates[label] = len(prompts) * tokens / (time.perf_counter() - began)
    return rates


def server_rates(dtype: str, tokens: int) -> dict[str, float]:
    """Tokens a second through HTTP: one stream, and 16 at once."""
    rates = {}
    with serving("--dtype", dtype) as server:
        for label, prompts in (("alone", PROMPTS[:1]), ("batch", PROMPTS)):
            bodies = [
                {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True} for prompt in prompts
            ]
            run_load(server.host, server.port, [{**bodies[0], "max_tokens": 4}], 1)
            figures = summary(run_load(server.host, server.port, bodies, len(bodies)))
            assert figures["total_output_tokens"] == len(prompts) * tokens
            assert not figures["failed"]
            rates[label] = figures["output_throughput"]
        rates["ready_seconds"] = server.ready_seconds
    return rates


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--dtypes", default="bfloat16,float32")
    options = parser.parse_args()

    from lightllm_rs.checkpoint import locate

    path = Path(locate().path)
    measured: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for dtype in options.dtypes.split(","):
            for side, rates in (
                ("transformers", transformers_rates(path, dtype, options.tokens)),
                ("lightllm_rs", server_rates(dtype, options.tokens)),
            ):
                for label, rate in rates.items():
                    measured.setdefault(f"{side}/{dtype}/{label}", []).append(rate)
    print(json.dumps({name: round(statistics.median(values), 2) for name, values in measured.items()}, indent=1))


if __name__ == "__main__":
    main()
