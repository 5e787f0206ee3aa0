"""The cases of a GPU comparison: a server with random weights, an outside load client, one table.

The client is the one of vLLM's Rust front end (`vllm-rs bench serve`), which needs no torch and is the same for every
server; its path is an argument. Each case is reported as the client reports it.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import Server, serving

KEPT = (
    "completed",
    "failed",
    "request_throughput",
    "output_throughput",
    "total_token_throughput",
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "mean_itl_ms",
    "p99_itl_ms",
)


IDLE_SECONDS = 7.0
"""For the server to capture the kinds of steps that a start leaves for later."""

CASE_SECONDS = 180
"""No case takes longer; a server that hangs shall not hang the run."""


@dataclass(frozen=True)
class Case:
    """Lengths in tokens; `rate` in requests a second, 0 for all at once."""

    prompt: int
    output: int
    requests: int
    concurrency: int
    shared_prefix: int = 0
    rate: float = 0.0


CASES = {
    "single": Case(128, 256, 8, 1),
    "decode": Case(128, 512, 512, 256),
    "mixed": Case(1024, 256, 768, 256),
    "prefill": Case(4096, 16, 128, 64),
    "prefix": Case(256, 64, 384, 64, shared_prefix=3072),
    "rate": Case(512, 128, 300, 0, rate=20.0),
    "small": Case(64, 128, 2048, 512),  # for a small model, where CPU and IPC decide; wants --max-num-seqs 512
    # Lengths of published figures of FP8 servers; they want --max-num-seqs as high as the concurrency.
    "128-128": Case(128, 128, 3072, 1024),
    "1000-1000": Case(1000, 1000, 512, 512),
    "2048-2048": Case(2048, 2048, 256, 256),
}


WARM_UP = Case(128, 16, 8, 4)
"""Comes first: for the client's and the server's code."""


def seed_of(name: str, run: int) -> int:
    """Prompts of one seed begin alike, whatever the case: without a seed of its own a case would find parts of its
    prompts in the prefix cache, left there by the cases before."""
    return 7 + 100 * list(CASES).index(name) + run


def run_case(client: str, server: Server, model: str, case: Case, seed: int) -> dict[str, Any]:
    """Runs one case and returns what the client saved."""
    with tempfile.TemporaryDirectory() as folder:
        command = [client, "bench", "serve", "--host", server.host, "--port", str(server.port)]
        command += ["--model", model, "--tokenizer", model, "--served-model-name", Path(model).name]
        command += ["--dataset-name", "random", "--random-input-len", str(case.prompt)]
        command += ["--random-output-len", str(case.output), "--num-prompts", str(case.requests)]
        command += ["--random-prefix-len", str(case.shared_prefix), "--seed", str(seed), "--ignore-eos"]
        command += ["--temperature", "0", "--disable-tqdm", "--save-result", "--result-dir", folder]
        command += ["--result-filename", "result.json"]
        if case.concurrency:
            command += ["--max-concurrency", str(case.concurrency)]
        if case.rate:
            command += ["--request-rate", str(case.rate)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CASE_SECONDS)
        result = Path(folder) / "result.json"
        if done.returncode or not result.exists():
            raise RuntimeError(f"the client failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        saved: dict[str, Any] = json.loads(result.read_text())
    return saved


def watch_gpu(stop: threading.Event, used: list[float]) -> None:
    """Appends the GPU's utilisation in percent, twice a second."""
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    while not stop.wait(0.5):
        done = subprocess.run(query, capture_output=True, text=True)
        if done.returncode == 0:
            used.append(float(done.stdout.split()[0]))


def main() -> None:
    """Prints a line for each case, then a JSON object of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", required=True, help="path of the vllm-rs binary")
    parser.add_argument("--model", required=True, help="folder with config.json and tokenizer.json")
    parser.add_argument("--cases", default="single,decode,mixed,prefill,prefix,rate", help=f"of {', '.join(CASES)}")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--output", help="file for the whole result")
    parser.add_argument("flags", nargs="*", help="further flags of the server, after --")
    options = parser.parse_args()

    results: dict[str, Any] = {}
    name = Path(options.model).name
    with serving(options.model, "--load-format", "dummy", "--served-model-name", name, *options.flags) as server:
        print(f"{server.log.read_text()}ready after {server.ready_seconds:.1f} s", flush=True)
        results["ready_seconds"] = server.ready_seconds
        run_case(options.client, server, options.model, WARM_UP, seed=1)
        time.sleep(IDLE_SECONDS)
        order = [name for name in options.cases.split(",") for _ in range(options.repeat)]
        random.shuffle(order)
        for name in order:
            stop, used = threading.Event(), []
            watcher = threading.Thread(target=watch_gpu, args=(stop, used))
            watcher.start()
            began = time.perf_counter()
            seed = seed_of(name, len(results.get(name, [])))
            saved = run_case(options.client, server, options.model, CASES[name], seed)
            stop.set()
            watcher.join()
            kept = {key: round(saved[key], 2) for key in KEPT if isinstance(saved.get(key), int | float)}
            busy = sum(used) / len(used) if used else None
            print(name, f"{time.perf_counter() - began:.0f} s", kept, f"gpu {busy}", flush=True)
            results.setdefault(name, []).append({**kept, "gpu_percent": busy})
        print(*server.warnings(), sep="\n", flush=True)
    if options.output:
        Path(options.output).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    sys.exit(main())
