"""The control plane alone: HTTP, tokeniser, router and back, with the mock backend at a step time of zero.

Reports the time that one request spends in the stack, the same at 256 streams, and output tokens a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from load import run_load, summary
from server import serving


def cpu_by_process(pid: int) -> dict[str, float]:
    """CPU seconds of the server's processes, by title."""
    import psutil

    parent = psutil.Process(pid)
    return {process.name(): sum(process.cpu_times()[:2]) for process in [parent, *parent.children(recursive=True)]}


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--step-ms", type=float, default=0.0)
    options = parser.parse_args()

    runs: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        runs.setdefault(name, []).append(value)

    prompt = "The quick brown fox jumps over the lazy dog. " * 12
    with serving("--backend", "mock", "--mock-step-ms", str(options.step_ms), "--max-num-seqs", "256") as server:
        host, port = server.host, server.port
        one = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "ignore_eos": True}
        many = {**one, "max_tokens": options.tokens}
        run_load(host, port, [one] * 20, 1)
        for round_number in range(options.rounds):
            alone = summary(run_load(host, port, [one] * 200, 1))
            note("one request, one token: end to end ms (median)", alone["median_e2el_ms"])
            stream = summary(run_load(host, port, [many] * 4, 1))
            note("one stream: ms between tokens (mean)", stream["mean_itl_ms"])
            note("one stream: tokens a second", stream["output_throughput"])
            bodies = [{**many, "prompt": f"{round_number} {index} {prompt}"} for index in range(options.streams * 2)]
            before, began = cpu_by_process(server.process.pid), time.perf_counter()
            full = summary(run_load(host, port, bodies, options.streams))
            wall = time.perf_counter() - began
            label = f"{options.streams} streams"
            note(f"{label}: output tokens a second", full["output_throughput"])
            note(f"{label}: ttft ms (median)", full["median_ttft_ms"])
            note(f"{label}: ms between chunks (mean)", full["mean_itl_ms"])
            note(f"{label}: errors", full["failed"])
            for name, seconds in cpu_by_process(server.process.pid).items():
                note(f"{label}: share of a core, {name}", (seconds - before.get(name, 0.0)) / wall)
    print(json.dumps({name: round(statistics.median(values), 3) for name, values in runs.items()}, indent=1))


if __name__ == "__main__":
    main()
