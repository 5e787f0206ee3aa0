"""The simulator against cases that were measured: one table, in Markdown.

Reads a cost model that `lightllm-rs profile` wrote and the results of `cases.py` on the same machine, simulates each
case with the settings that serve by default, and compares what the client saw. What lies between client and router is
no part of a simulation: `--http-ms`, added to each time to a first token and to each client's pause between two
requests, is the time to the first token of case `single` with the mock backend. Clients of a closed loop begin one
after the other, `--client-ms` apart, which is what the load client takes to send a request. As on the server, each case
comes after those that were run before it: the scheduler has learned from them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cases import CASES, WARM_UP, Case
from lightllm_rs.settings import ServeSettings
from lightllm_rs.simulate import run

STEP_TOKENS = 8192
"""What the server takes on a GPU where nothing is said."""

KINDS = {"ttft": 0.10, "itl": 0.05, "e2e": 0.05}
"""What is compared, and how far the means may be from each other, in parts."""


def workload(case: Case, http_ms: float, client_ms: float) -> dict[str, Any]:
    """The case as the simulator has it: a closed loop, or independent arrivals."""
    lengths = {"prompt": case.prompt, "output": case.output}
    source = {name: {"kind": "constant", "tokens": tokens} for name, tokens in lengths.items()}
    found: dict[str, Any] = {"source": {"kind": "synthetic", **source}}
    if case.rate:
        found |= {"arrivals": {"kind": "poisson"}, "rate": case.rate}
    else:
        ramp_ms = client_ms * case.concurrency
        found["arrivals"] = {"kind": "closed", "clients": case.concurrency, "think_ms": http_ms, "ramp_ms": ramp_ms}
    if case.shared_prefix:
        found["shared_prefix"] = {"tokens": case.shared_prefix, "groups": 1}
    return found


def simulated(
    case: Case, before: Sequence[Case], cost: dict[str, Any], options: argparse.Namespace
) -> dict[str, float]:
    """Means over some seeds, in milliseconds, as the client would see them after the cases `before`."""
    settings = ServeSettings()
    scheduler = {
        "pages": options.kv_cache_tokens // options.page_size,
        "page_size": options.page_size,
        "slots": options.slots,
        "context": options.context,
        "step_tokens": STEP_TOKENS,
        "prefill_chunk": STEP_TOKENS,
        "step_ns": round(settings.max_step_ms * 1e6),
        "plan_lead_ns": round(settings.plan_lead_ms * 1e6),
        "balance_tokens": settings.balance_tokens,
        "policy": settings.admission_policy,
        **json.loads(options.scheduler),
    }
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in range(options.seeds):
        report = run(
            {
                "workload": workload(case, options.http_ms, options.client_ms),
                "before": [
                    {
                        "workload": workload(one, options.http_ms, options.client_ms),
                        "limits": {"requests": one.requests},
                    }
                    for one in before
                ],
                "cost": cost,
                "scheduler": scheduler,
                "limits": {"requests": case.requests},
                "seed": seed,
            }
        )
        for kind in KINDS:
            away = 0.0 if kind == "itl" else options.http_ms
            found[kind].append(report[f"{kind}_ms"]["mean"] + away)
    return {kind: statistics.fmean(values) for kind, values in found.items()}


def measured(case: Case, runs: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Medians over the runs of what the client saw, in milliseconds. All outputs of a case are of one length."""
    runs = list(runs)
    ttft, itl, tpot = (statistics.median(run[f"mean_{kind}_ms"] for run in runs) for kind in ("ttft", "itl", "tpot"))
    return {"ttft": ttft, "itl": itl, "e2e": ttft + tpot * (case.output - 1)}


def main() -> int:
    """Prints the table. Returns 1 where a mean is further off than it may be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost", type=Path, required=True, help="cost model that lightllm-rs profile wrote")
    parser.add_argument("--cases", type=Path, required=True, help="what cases.py --output wrote")
    parser.add_argument("--http-ms", type=float, required=True, help="what HTTP adds to the time to a first token")
    parser.add_argument("--client-ms", type=float, default=0.5, help="what the client takes for a request")
    parser.add_argument("--kv-cache-tokens", type=int, default=400_000)
    parser.add_argument("--page-size", type=int, default=64)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--scheduler", default="{}", help="other settings of the scheduler, as a JSON object")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()

    cost = json.loads(options.cost.read_text())
    results = json.loads(options.cases.read_text())
    far, order = [], [name for name in results if name in CASES]  # a file has them as they were run
    heads = " | | ".join(f"{kind.upper()} ms: measured | simulated" for kind in KINDS)
    print(f"| case | {heads} | |")
    print("|---" * 10 + "|")
    for name, case in CASES.items():
        if name not in results:
            continue
        before = [WARM_UP, *(CASES[name] for name in order[: order.index(name)])]
        real, model = measured(case, results[name]), simulated(case, before, cost, options)
        columns = []
        for kind, bound in KINDS.items():
            difference = model[kind] / real[kind] - 1
            columns += [f"{real[kind]:.1f}", f"{model[kind]:.1f}", f"{100 * difference:+.1f} %"]
            if abs(difference) > bound:
                far.append(f"{name} {kind}")
        print(f"| {name} | " + " | ".join(columns) + " |")
    print(f"\nfurther off than they may be: {', '.join(far) or 'none'}")
    return 1 if far else 0


if __name__ == "__main__":
    raise SystemExit(main())
