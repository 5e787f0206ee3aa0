"""The simulator against the live server: the same requests, the same scheduler, the mock backend.

Each run starts a server that writes a journal, sends it requests at random times, and then simulates that journal's
arrivals with the step time that the mock was given. Both sides' times are the router's: from a request's arrival there
to its tokens' results. Prints a table of medians over the runs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from lightllm_rs.replay import replay, summary
from lightllm_rs.simulate import run
from load import run_arrivals
from server import serving

KINDS = ("ttft", "itl", "e2e")
FIGURES = ("mean", "p50", "p99")


def live(options: argparse.Namespace, seed: int, journal: Path) -> dict[str, Any]:
    """Serves the requests. Returns what the journal says of them."""
    draw = random.Random(seed)
    rate = options.load * options.slots / (statistics.fmean(options.tokens) * options.step_ms / 1e3)
    bodies: list[dict[str, object]] = []
    times, now = [], 0.0
    for number in range(options.requests):
        now += draw.expovariate(rate)
        times.append(now)
        words = " ".join(str(draw.randrange(10_000)) for _ in range(draw.randint(20, 200)))
        tokens = draw.randint(*options.tokens)
        bodies.append({"prompt": f"{number} {words}", "max_tokens": tokens, "ignore_eos": True, "temperature": 0})
    flags = ["--backend", "mock", "--mock-step-ms", str(options.step_ms), "--max-num-seqs", str(options.slots)]
    with serving(*flags, "--journal", str(journal)) as server:
        outcomes, _ = run_arrivals(server.host, server.port, bodies, times)
    failed = [outcome.error for outcome in outcomes if outcome.error]
    assert not failed, failed[0]
    return summary(journal)


def simulated(options: argparse.Namespace, journal: Path) -> dict[str, Any]:
    """The same arrivals under the virtual clock."""
    with journal.open() as lines:
        header = json.loads(next(lines))
    setup = {
        "workload": {"source": {"kind": "journal", "path": str(journal)}},
        "cost": {"version": 1, "kind": "constant", "ms": options.step_ms},
        "scheduler": header["config"],
    }
    return dict(run(setup))


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--step-ms", type=float, default=20.0)
    parser.add_argument("--load", type=float, default=0.6, help="part of the slots that is busy")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--tokens", type=int, nargs=2, default=(16, 96), metavar=("LOW", "HIGH"))
    options = parser.parse_args()

    sides: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.runs):
            journal = Path(folder) / f"{number}.jsonl"
            served, model = live(options, 7 + number, journal), simulated(options, journal)
            assert replay(journal).identical, replay(journal).first
            for kind in KINDS:
                for figure in FIGURES:
                    sides.setdefault(f"{kind}_{figure}/live", []).append(served[kind][figure] * 1e3)
                    sides.setdefault(f"{kind}_{figure}/simulated", []).append(model[f"{kind}_ms"][figure])
    found: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        for figure in FIGURES:
            name = f"{kind}_{figure}"
            real, model_ms = (statistics.median(sides[f"{name}/{side}"]) for side in ("live", "simulated"))
            found[name] = {"live_ms": real, "simulated_ms": model_ms, "difference": model_ms / real - 1}
            print(
                f"{name:<10} live {real:8.2f} ms  simulated {model_ms:8.2f} ms  {100 * (model_ms / real - 1):+6.2f} %"
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
