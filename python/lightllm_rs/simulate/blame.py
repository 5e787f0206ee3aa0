"""Errors of a simulation in the words of the command line."""

from __future__ import annotations

import argparse

from lightllm_rs.simulate.cost import cost_file
from lightllm_rs.simulate.errors import InputError

FLAGS = {
    "scheduler.policy": "--policy",
    "scheduler.mode": "--schedule-mode",
    "scheduler.eviction": "--eviction-policy",
    "scheduler.page_size": "--page-size",
    "scheduler.slots": "--max-num-seqs",
    "scheduler.context": "--max-model-len",
    "scheduler.step_tokens": "--max-num-batched-tokens",
    "scheduler.prefill_chunk": "--chunked-prefill-size",
    "workload.source": "--prompt-tokens, --output-tokens or --n",
    "workload.source.prompt": "--prompt-tokens",
    "workload.source.output": "--output-tokens",
    "workload.source.block_tokens": "--block-tokens",
    "workload.arrivals": "--arrivals",
    "workload.rate": "--rate",
    "workload.rate_scale": "--rate-scale",
    "workload.max_tokens": "--max-tokens",
    "workload.shared_prefix": "--shared-prefix",
    "workload.image": "--image",
    "workload.tenants": "--tenants",
    "workload.priorities": "--priorities",
    "workload.deadline_ms": "--deadline",
    "workload.n": "--n",
    "slo.ttft_ms": "--slo-ttft",
    "slo.itl_ms": "--slo-itl",
    "slo.e2e_ms": "--slo-e2e",
    "limits": "--requests or --seconds",
    "limits.requests": "--requests",
    "limits.seconds": "--seconds",
}
"""What sets a field of a setup."""


def blame(error: Exception, parsed: argparse.Namespace) -> str:
    """The message, with the file of a cost model or with the flag that gave what is wrong."""
    message = str(error)
    parameter = error.parameter if isinstance(error, InputError) else None
    if parameter is None or not message.startswith(parameter):
        return message
    if parameter.partition(".")[0] == "cost" and parsed.cost is not None:
        path = cost_file(parsed.cost)
        return f"--cost {parsed.cost}: {message}" if path is None else f"{path}: {message}"
    flag = next((FLAGS[prefix] for prefix in _prefixes(parameter) if prefix in FLAGS), None)
    return message if flag is None else f"{message} ({flag})"


def _prefixes(parameter: str) -> list[str]:
    """The parameter and what it is part of, but for the whole."""
    parts = parameter.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
