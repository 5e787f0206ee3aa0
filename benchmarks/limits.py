"""What a GPU's memory and arithmetic allow in the cases of `cases.py`, and which part of it a server has reached.

    python benchmarks/cases.py --client vllm-rs --model FOLDER --output cases.json
    python benchmarks/limits.py --model FOLDER --results cases.json

Measures the copy bandwidth and the rate of an 8192^3 bf16 product, both as they are now. A case then takes at least the
sum of: its matrix work (every step reads all weights; or its FLOPs, where that is more), the reading of the KV cache by
decode rows, and the FLOPs of prefill attention. Less is possible only where KV reads overlap matrix work. Latency at a
rate has no such limit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import CASES, Case

PRODUCT = 8192
COPY_BYTES = 4 << 30


@dataclass(frozen=True)
class Gpu:
    """`bandwidth` in bytes a second, read plus written; `rate` in FLOPs a second."""

    bandwidth: float
    rate: float


@dataclass(frozen=True)
class Model:
    """Sizes of a model.

    Attributes:
        weights: parameters of all matrices of the layers.
        head: of the output head.
        attention_flops: of one pair of a token and a position that it attends to, over all layers.
        kv_bytes: of one token in the KV cache.
        weight_bytes: of one parameter.
    """

    weights: int
    head: int
    attention_flops: int
    kv_bytes: int
    weight_bytes: float

    def step_seconds(self, gpu: Gpu) -> float:
        """The shortest step: all matrices are read once."""
        return (self.weights + self.head) * self.weight_bytes / gpu.bandwidth


def model_of(folder: Path, weight_bytes: float = 2.0, kv_element_bytes: float = 2.0) -> Model:
    """The sizes in a folder's config.json."""
    config = json.loads((folder / "config.json").read_text())
    hidden, layers, heads = (config[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
    kv_heads = config.get("num_key_value_heads", heads)
    width = config.get("head_dim") or hidden // heads
    layer = hidden * (heads + 2 * kv_heads) * width + heads * width * hidden + 3 * hidden * config["intermediate_size"]
    return Model(
        weights=layers * layer,
        head=hidden * config["vocab_size"],
        attention_flops=4 * layers * heads * width,
        kv_bytes=int(2 * layers * kv_heads * width * kv_element_bytes),
        weight_bytes=weight_bytes,
    )


def least_seconds(model: Model, case: Case, gpu: Gpu, shared_once: bool = False) -> float:
    """The shortest time of a whole case without a rate.

    Args:
        shared_once: the shared prefix is read once a step, not once a request and step.
    """
    steps = case.output * -(-case.requests // case.concurrency)
    flops = (
        2 * model.weights * case.requests * (case.prompt + case.output) + 2 * model.head * case.requests * case.output
    )
    matrices = max(flops / gpu.rate, steps * model.step_seconds(gpu))
    own = case.requests * case.output * (case.prompt + case.output / 2)
    shared = (steps if shared_once else case.requests * case.output) * case.shared_prefix
    reads = (own + shared) * model.kv_bytes / gpu.bandwidth
    pairs = case.requests * case.prompt * (case.shared_prefix + case.prompt / 2)
    return matrices + reads + pairs * model.attention_flops / gpu.rate


def limits(model: Model, gpu: Gpu) -> dict[str, tuple[str, float]]:
    """For each case the figure of the client that is compared, and its limit."""
    found = {"single": ("mean_itl_ms", 1e3 * model.step_seconds(gpu))}
    for name, case in CASES.items():
        if name in found or case.rate:
            continue
        seconds = least_seconds(model, case, gpu, shared_once=True)
        tokens = case.requests * (case.prompt + case.output)
        if name == "prefix":
            found[name] = ("request_throughput", case.requests / seconds)
        elif name == "prefill":
            found[name] = ("total_token_throughput", tokens / seconds)
        else:
            found[name] = ("output_throughput", case.requests * case.output / seconds)
    return found


def measured_gpu() -> Gpu:
    """Medians of ten."""
    import torch

    source, target = (torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda") for _ in range(2))
    left, right = (torch.randn(PRODUCT, PRODUCT, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(left)

    def seconds(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(12):
            torch.cuda.synchronize()
            began = time.perf_counter()
            work()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        return statistics.median(times[2:])

    copy = seconds(lambda: target.copy_(source))
    product = seconds(lambda: torch.mm(left, right, out=out))
    return Gpu(2 * COPY_BYTES / copy, 2 * PRODUCT**3 / product)


def main() -> None:
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder with config.json")
    parser.add_argument("--results", help="what cases.py wrote")
    parser.add_argument("--bandwidth", type=float, help="TB/s, in place of measuring")
    parser.add_argument("--tflops", type=float, help="TFLOP/s, in place of measuring")
    parser.add_argument("--weight-bytes", type=float, default=2.0, help="bytes of a weight (1: FP8)")
    parser.add_argument(
        "--kv-element-bytes", type=float, default=2.0, help="bytes of a number in the KV cache (1: FP8)"
    )
    options = parser.parse_args()
    if options.bandwidth and options.tflops:
        gpu = Gpu(options.bandwidth * 1e12, options.tflops * 1e12)
    else:
        gpu = measured_gpu()
    print(f"copy {gpu.bandwidth / 1e12:.2f} TB/s, {PRODUCT}^3 product {gpu.rate / 1e12:.0f} TFLOP/s")
    results = json.loads(Path(options.results).read_text()) if options.results else {}
    model = model_of(Path(options.model), options.weight_bytes, options.kv_element_bytes)
    for name, (figure, limit) in limits(model, gpu).items():
        line = f"{name:<10} {figure:<24} limit {limit:10.2f}"
        runs = [run[figure] for run in results.get(name, []) if figure in run]
        if runs:
            reached = statistics.median(runs)
            part = limit / reached if figure.endswith("_ms") else reached / limit
            line += f"  measured {reached:10.2f}  {100 * part:5.1f} % of the limit"
        print(line)


if __name__ == "__main__":
    main()
