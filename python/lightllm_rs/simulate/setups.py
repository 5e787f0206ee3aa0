"""Flags as setups: one for each combination of the values that make a sweep."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from lightllm_rs.simulate.cost import cost_model
from lightllm_rs.simulate.errors import input_error
from lightllm_rs.simulate.formats import format_of
from lightllm_rs.simulate.reports import Setup

PAGE_SIZE = 16
"""Of the scheduler, where nothing else is said."""


def setups_of(parsed: argparse.Namespace) -> list[Setup]:
    """All setups that the flags mean, in the order of the values. Raises InputError."""
    if parsed.cost is None:
        message = (
            "--cost is missing: give a file that `lightllm-rs profile` wrote, constant:20ms or roofline:CONFIG.json"
        )
        raise input_error(message, parameter="cost")
    base: Setup = {
        "workload": _workload(parsed),
        "cost": cost_model(parsed.cost),
        "scheduler": _scheduler(parsed),
        "slo": _present({"ttft_ms": parsed.slo_ttft, "itl_ms": parsed.slo_itl, "e2e_ms": parsed.slo_e2e}),
        "limits": _present({"requests": parsed.requests, "seconds": parsed.seconds}),
        "strict": not parsed.skip_too_large,
        "seed": 0,
    }
    axes = _axes(parsed)
    _check_once(base, axes)
    if parsed.journal is not None:
        if any(len(values) > 1 for _, values in axes):
            raise input_error("--journal is of one simulation: give one value to each flag", parameter="journal")
        base["journal"] = parsed.journal
    return [_cell(base, axes, values) for values in itertools.product(*(values for _, values in axes))]


def _axes(parsed: argparse.Namespace) -> list[tuple[str, list[Any]]]:
    """Paths into a setup, and the values to put there."""
    axes: list[tuple[str, list[Any]]] = []
    for path, values in (
        ("scheduler.policy", parsed.policy),
        ("scheduler.mode", parsed.schedule_mode),
        ("scheduler.eviction", parsed.eviction_policy),
        ("workload.rate", parsed.rate),
        ("workload.rate_scale", parsed.rate_scale),
        ("seed", parsed.seed),
    ):
        if values is not None:
            axes.append((path, values))
    axes.extend((f"scheduler.{key}", values) for key, values in parsed.set)
    return axes


def _check_once(base: Setup, axes: list[tuple[str, list[Any]]]) -> None:
    """Nothing may be set twice, by a flag of its own and by --set: which would count?"""
    paths = [path for path, _ in axes]
    for path in paths:
        key = path.removeprefix("scheduler.")
        if path == "scheduler.seed":
            raise input_error("--set seed: use --seed, which is of all that draws", parameter="set")
        if paths.count(path) > 1 or (path != key and key in base["scheduler"]):
            raise input_error(f"--set {key}: it is given twice, or has a flag that says it already", parameter="set")


def _cell(base: Setup, axes: list[tuple[str, list[Any]]], values: tuple[Any, ...]) -> Setup:
    setup: Setup = {key: _copied(value) for key, value in base.items()}
    names = []
    for (path, choices), value in zip(axes, values, strict=True):
        place = setup
        *parents, last = path.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = _copied(value)
        if len(choices) > 1 or path == "scheduler.policy":
            names.append(_name(last, value))
    setup["name"] = ", ".join(names) or "default"
    return setup


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _name(key: str, value: Any) -> str:
    if key == "policy" and isinstance(value, dict):
        parameters = [f"{name}={inner}" for name, inner in value.items() if name != "name"]
        return ":".join([value["name"], *parameters])
    if key in ("mode", "eviction"):
        return str(value)
    return f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"


def _workload(parsed: argparse.Namespace) -> dict[str, Any]:
    return _present(
        {
            "source": _source(parsed),
            "arrivals": parsed.arrivals or _usual_arrivals(parsed),
            "max_tokens": parsed.max_tokens,
            "shared_prefix": parsed.shared_prefix,
            "image": parsed.image,
            "tenants": parsed.tenants,
            "priorities": parsed.priorities,
            "deadline_ms": parsed.deadline,
            "n": parsed.n,
        }
    )


def _usual_arrivals(parsed: argparse.Namespace) -> dict[str, Any] | None:
    """Traces have times; what has none arrives at random, if a rate is given."""
    if parsed.trace is None and parsed.rate is None:
        raise input_error(
            "--rate is missing: a synthetic workload needs requests a second (or --arrivals closed:CLIENTS or at-once)",
            parameter="rate",
        )
    timeless = parsed.trace is None or (parsed.format or format_of(Path(parsed.trace))) == "sharegpt"
    return {"kind": "poisson"} if timeless else None


def _source(parsed: argparse.Namespace) -> dict[str, Any]:
    lengths = {"prompt": parsed.prompt_tokens, "output": parsed.output_tokens}
    if parsed.trace is None:
        for name, value in lengths.items():
            if value is None:
                message = f"give a TRACE, or --{name}-tokens of a synthetic workload"
                raise input_error(message, parameter=f"{name}_tokens")
        return {"kind": "synthetic", **lengths}
    for name, value in lengths.items():
        if value is not None:
            raise input_error(f"--{name}-tokens is for synthetic workloads: leave it out, or TRACE", parameter=name)
    path = Path(parsed.trace)
    source = {"kind": parsed.format or format_of(path), "path": str(path)}
    if parsed.block_tokens is not None:
        if source["kind"] != "mooncake":
            raise input_error("--block-tokens is for traces in the format of mooncake", parameter="block_tokens")
        source["block_tokens"] = parsed.block_tokens
    return source


def _scheduler(parsed: argparse.Namespace) -> dict[str, Any]:
    page_size = parsed.page_size or PAGE_SIZE
    tokens = parsed.kv_cache_tokens
    if tokens is not None and tokens < page_size:
        raise input_error(
            f"--kv-cache-tokens {tokens}: must be at least one page, {page_size}", parameter="kv_cache_tokens"
        )
    return _present(
        {
            "pages": None if tokens is None else tokens // page_size,
            "page_size": parsed.page_size,
            "slots": parsed.max_num_seqs,
            "context": parsed.max_model_len,
            "step_tokens": parsed.max_num_batched_tokens,
            "prefill_chunk": parsed.chunked_prefill_size,
            "prefix_cache": parsed.enable_prefix_caching,
        }
    )


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
