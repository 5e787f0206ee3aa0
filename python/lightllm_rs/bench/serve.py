"""`lightllm-rs bench serve`: load on a running server."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightllm_rs import __version__
from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.figures import figures
from lightllm_rs.bench.load import Load, arrivals, run_load
from lightllm_rs.bench.outcome import Outcome, Prompt
from lightllm_rs.bench.plot import distribution_plot, sweep_plot
from lightllm_rs.bench.progress import bar
from lightllm_rs.bench.prompts import load_named_tokenizer, prompts_of
from lightllm_rs.bench.report import report, sweep_table
from lightllm_rs.bench.target import CHAT, COMPLETIONS, Target, target_of
from lightllm_rs.tokenizer import TextTokenizer

SHOWN_ERRORS = 3


@dataclass(frozen=True)
class Point:
    """One run of a sweep: a rate in requests a second (infinity: all at once) and a concurrency (0: no limit)."""

    rate: float
    concurrency: int
    seed: int


def run(parsed: argparse.Namespace) -> int:
    """Runs all points and writes what was asked for. Returns the exit code. Raises BenchError."""
    points = points_of(parsed)
    _check_outputs(parsed)
    endpoint = parsed.endpoint or (CHAT if parsed.backend == "openai-chat" else COMPLETIONS)
    target = target_of(
        parsed.base_url or f"http://{parsed.host}:{parsed.port}", endpoint, _name(parsed), _extra(parsed)
    )
    tokenizer = load_named_tokenizer(parsed.tokenizer or parsed.model or target.model)
    results: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for index, point in enumerate(points):
        if len(points) > 1:
            print(f"run {index + 1} of {len(points)}: {_words(point)}", file=sys.stderr)
        result, outcomes = _run_point(parsed, target, tokenizer, point, warm=index == 0)
        results.append(result)
        print(report(result, parsed.percentile_metrics), flush=True)
        _say_errors(outcomes)
    swept = "request_rate" if len(parsed.request_rate) > 1 else "max_concurrency"
    if len(points) > 1:
        print(sweep_table(results, swept, parsed.metric_percentiles))
    if parsed.plot is not None:
        title = f"{target.model}: {parsed.num_prompts} requests, {parsed.dataset_name}"
        drawn = (
            sweep_plot(title, results, swept, parsed.metric_percentiles)
            if len(points) > 1
            else distribution_plot(title, outcomes)
        )
        Path(parsed.plot).write_text(drawn, encoding="utf-8")
    if parsed.save_result or parsed.save_detailed or parsed.result_filename is not None:
        _save(parsed, target, results)
    return 0


def points_of(parsed: argparse.Namespace) -> list[Point]:
    """The runs that the flags ask for; each has a seed of its own, or its prompts would be in the server's cache."""
    rates, limits = parsed.request_rate, parsed.max_concurrency
    if len(rates) > 1 and len(limits) > 1:
        raise BenchError("--request-rate and --max-concurrency are both lists: sweep one at a time")
    if len(rates) > 1 and float("inf") in rates and parsed.plot is not None:
        raise BenchError("--plot cannot place a rate of inf among others: leave one of them out")
    pairs = [(rate, limit) for rate in rates for limit in limits]
    return [Point(rate, limit, parsed.seed + index) for index, (rate, limit) in enumerate(pairs)]


def _run_point(
    parsed: argparse.Namespace, target: Target, tokenizer: TextTokenizer, point: Point, warm: bool
) -> tuple[dict[str, Any], list[Outcome]]:
    warming = parsed.num_warmups if warm else 0
    prompts = prompts_of(parsed, tokenizer, parsed.num_prompts + warming, point.seed)
    if warming:
        _warm_up(parsed, target, prompts[parsed.num_prompts :])
    measured = prompts[: parsed.num_prompts]
    at = arrivals(len(measured), point.rate, parsed.burstiness, point.seed)
    load = Load(target, measured, at, point.concurrency, parsed.request_timeout)
    with bar(len(measured), "req", parsed.disable_tqdm) as progress:
        outcomes, seconds = run_load(load, parsed.processes, progress)
    result: dict[str, Any] = {
        "date": time.strftime("%Y%m%d-%H%M%S"),
        "lightllm_rs": __version__,
        "backend": parsed.backend,
        "model_id": target.model,
        "endpoint": target.path,
        "dataset": parsed.dataset_name,
        "num_prompts": len(measured),
        "seed": point.seed,
        "processes": parsed.processes,
        "request_rate": point.rate if point.rate != float("inf") else None,
        "burstiness": parsed.burstiness,
        "max_concurrency": point.concurrency or None,
        **figures(outcomes, seconds, parsed.metric_percentiles, parsed.goodput),
    }
    if parsed.save_detailed:
        result |= _details(outcomes)
    return result, outcomes


def _warm_up(parsed: argparse.Namespace, target: Target, prompts: Sequence[Prompt]) -> None:
    load = Load(target, prompts, [0.0] * len(prompts), 1, parsed.request_timeout)
    outcomes, _ = run_load(load)
    failed = next((outcome.error for outcome in outcomes if outcome.error), "")
    if failed:
        raise BenchError(f"the first request failed: {failed}")


def _details(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "input_lens": [outcome.prompt_tokens for outcome in outcomes],
        "output_lens": [outcome.output_tokens for outcome in outcomes],
        "ttfts": [outcome.ttft if outcome.first else None for outcome in outcomes],
        "itls": [outcome.gaps for outcome in outcomes],
        "errors": [outcome.error for outcome in outcomes],
    }


def _extra(parsed: argparse.Namespace) -> dict[str, Any]:
    extra: dict[str, Any] = dict(parsed.extra_body)
    for name in ("temperature", "top_p", "top_k"):
        if getattr(parsed, name) is not None:
            extra[name] = getattr(parsed, name)
    return extra | ({"ignore_eos": True} if parsed.ignore_eos else {})


def _name(parsed: argparse.Namespace) -> str | None:
    name = parsed.served_model_name or parsed.model
    return None if name is None else str(name)


def _check_outputs(parsed: argparse.Namespace) -> None:
    if parsed.plot is not None and not Path(parsed.plot).parent.is_dir():
        raise BenchError(f"--plot: there is no folder {Path(parsed.plot).parent}")
    if not Path(parsed.result_dir).is_dir():
        raise BenchError(f"--result-dir: there is no folder {parsed.result_dir}")


def _save(parsed: argparse.Namespace, target: Target, results: Sequence[dict[str, Any]]) -> None:
    """One object, or a list of them after a sweep."""
    name = parsed.result_filename
    if name is None:
        name = f"bench-{target.model.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path = Path(parsed.result_dir) / name
    path.write_text(json.dumps(results[0] if len(results) == 1 else results, indent=1) + "\n", encoding="utf-8")
    print(f"saved as {path}", file=sys.stderr)


def _say_errors(outcomes: Sequence[Outcome]) -> None:
    errors = [outcome.error for outcome in outcomes if outcome.error]
    kinds = list(dict.fromkeys(errors))
    for error in kinds[:SHOWN_ERRORS]:
        print(f"{errors.count(error)} failed: {error}", file=sys.stderr)
    if len(kinds) > SHOWN_ERRORS:
        print(f"and {len(kinds) - SHOWN_ERRORS} other errors", file=sys.stderr)


def _words(point: Point) -> str:
    rate = "all at once" if point.rate == float("inf") else f"{point.rate:g} requests a second"
    return f"{rate}, at most {point.concurrency} under way" if point.concurrency else rate
