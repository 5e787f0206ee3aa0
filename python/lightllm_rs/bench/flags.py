"""Flags of `lightllm-rs bench`, with the names that users of `vllm bench` know."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any, TypeVar

from lightllm_rs.bench.figures import GOODPUT_METRICS, METRICS

Number = TypeVar("Number", int, float)


def add_dataset_flags(parser: argparse.ArgumentParser, count: int, input_len: int, output_len: int) -> None:
    """What is asked; the arguments are defaults."""
    group = parser.add_argument_group("Dataset")
    group.add_argument("--dataset-name", choices=("random", "sharegpt", "custom"), default="random")
    group.add_argument("--dataset-path", metavar="FILE", help="ShareGPT's JSON, or JSONL with a prompt a line (custom)")
    group.add_argument(
        "--num-prompts", type=at_least(1), default=count, metavar="N", help=f"requests [default {count}]"
    )
    group.add_argument("--random-input-len", type=at_least(1), default=input_len, metavar="N", help=f"[{input_len}]")
    group.add_argument("--random-output-len", type=at_least(1), default=output_len, metavar="N", help=f"[{output_len}]")
    group.add_argument(
        "--random-range-ratio",
        type=between(0.0, 1.0),
        default=0.0,
        metavar="X",
        help="lengths are drawn from 1 - X to 1 + X times these [default 0]",
    )
    group.add_argument(
        "--random-prefix-len",
        type=at_least(0),
        default=0,
        metavar="N",
        help="tokens that all prompts share [default 0]",
    )
    group.add_argument(
        "--sharegpt-output-len", type=at_least(1), metavar="N", help="in place of ShareGPT's own lengths"
    )
    group.add_argument("--custom-output-len", type=at_least(1), metavar="N", help="where a line has no output_tokens")


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """All of `bench serve`."""
    where = parser.add_argument_group("Server")
    where.add_argument("--host", default="127.0.0.1", help="[default 127.0.0.1]")
    where.add_argument("--port", type=at_least(1), default=8000, help="[default 8000]")
    where.add_argument("--base-url", metavar="URL", help="in place of host and port")
    where.add_argument("--backend", choices=("openai", "openai-chat"), default="openai", help="kind of API")
    where.add_argument("--endpoint", metavar="PATH", help="in place of the backend's own, as /v1/completions")
    where.add_argument("--model", help="name or folder; without it the first that the server names")
    where.add_argument("--served-model-name", metavar="NAME", help="name in the API, if --model is a folder")
    where.add_argument("--tokenizer", metavar="FOLDER", help="without it the model's")
    add_dataset_flags(parser, 1000, 1024, 128)

    load = parser.add_argument_group("Load")
    load.add_argument(
        "--request-rate",
        type=numbers(above_zero),
        default=[float("inf")],
        metavar="X,Y",
        help="requests a second; inf: all at once; a list is swept [default inf]",
    )
    load.add_argument(
        "--burstiness",
        type=above_zero,
        default=1.0,
        metavar="X",
        help="shape of the gamma distribution of arrivals: 1 is Poisson, less is more bursty [default 1]",
    )
    load.add_argument(
        "--max-concurrency",
        type=numbers(at_least(1)),
        default=[0],
        metavar="N,M",
        help="most requests under way; a list is swept [default no limit]",
    )
    load.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of prompts and arrivals [default 0]")
    load.add_argument("--num-warmups", type=at_least(0), default=1, metavar="N", help="requests before [default 1]")
    load.add_argument(
        "--processes",
        type=at_least(1),
        default=1,
        metavar="N",
        help="client processes that share the load: one takes some 50,000 events a second without being what is "
        "measured [default 1]",
    )
    load.add_argument("--request-timeout", type=above_zero, default=21_600.0, metavar="S", help="[default 6 h]")

    asked = parser.add_argument_group("Sampling")
    asked.add_argument("--ignore-eos", action="store_true", help="answers are as long as asked for")
    asked.add_argument("--temperature", type=between(0.0, 100.0), metavar="X", help="[default the server's]")
    asked.add_argument("--top-p", type=between(0.0, 1.0), metavar="X")
    asked.add_argument("--top-k", type=int, metavar="N")
    asked.add_argument("--extra-body", type=json_object, default={}, metavar="JSON", help="fields of each body")

    shown = parser.add_argument_group("Results")
    shown.add_argument(
        "--goodput",
        nargs="+",
        action=Limits,
        default={},
        metavar="METRIC:MS",
        help="limits that a good request keeps, of ttft, tpot and e2el: ttft:200 tpot:50",
    )
    shown.add_argument(
        "--percentile-metrics",
        type=metric_names,
        default=["ttft", "tpot", "itl"],
        metavar="A,B",
        help=f"metrics to show, of {','.join(METRICS)} [default ttft,tpot,itl]",
    )
    shown.add_argument(
        "--metric-percentiles",
        type=numbers(between(0.0, 100.0)),
        default=[99.0],
        metavar="X,Y",
        help="[default 99]",
    )
    shown.add_argument("--save-result", action="store_true", help="write a JSON file")
    shown.add_argument("--save-detailed", action="store_true", help="the same with the times of each request in it")
    shown.add_argument("--result-dir", default=".", metavar="DIR", help="[default .]")
    shown.add_argument("--result-filename", metavar="FILE", help="name of the file; means --save-result")
    shown.add_argument("--plot", metavar="FILE", help="SVG: over a sweep, or the distributions of one run")
    shown.add_argument("--disable-tqdm", action="store_true", help="no progress bar")


def add_latency_flags(parser: argparse.ArgumentParser) -> None:
    """What `bench latency` has beside the settings of `serve`."""
    group = parser.add_argument_group("Batch")
    group.add_argument("--input-len", type=at_least(1), default=32, metavar="N", help="tokens of a prompt [default 32]")
    group.add_argument("--output-len", type=at_least(1), default=128, metavar="N", help="of an answer [default 128]")
    group.add_argument("--batch-size", type=at_least(1), default=8, metavar="N", help="requests [default 8]")
    group.add_argument("--num-iters-warmup", type=at_least(0), default=3, metavar="N", help="[default 3]")
    group.add_argument("--num-iters", type=at_least(1), default=10, metavar="N", help="batches timed [default 10]")
    _add_engine_flags(group)


def add_throughput_flags(parser: argparse.ArgumentParser) -> None:
    """What `bench throughput` has beside the settings of `serve`."""
    add_dataset_flags(parser, 1000, 1024, 128)
    _add_engine_flags(parser.add_argument_group("Run"))


def add_startup_flags(parser: argparse.ArgumentParser) -> None:
    """All of `bench startup`; what is not its own goes to `serve`."""
    group = parser.add_argument_group("Starts")
    group.add_argument("--num-iters", type=at_least(1), default=3, metavar="N", help="starts [default 3]")
    group.add_argument("--cold", action="store_true", help="each start has an empty cache of Triton's compiled kernels")
    group.add_argument(
        "--start-seconds", type=above_zero, default=600.0, metavar="S", help="most for one start [default 600]"
    )
    group.add_argument("--output-json", metavar="FILE", help="file for all figures")
    parser.add_argument("flags", nargs="*", metavar="-- FLAGS", help="what serve is given, after --")


def _add_engine_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--temperature", type=between(0.0, 100.0), default=0.0, metavar="X", help="[default 0: greedy]")
    group.add_argument("--output-json", metavar="FILE", help="file for all figures")
    group.add_argument("--disable-tqdm", action="store_true", help="no progress bar")


class Limits(argparse.Action):
    """`ttft:200 tpot:50` as milliseconds by metric."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Called by argparse."""
        found: dict[str, float] = {}
        for text in values:
            metric, _, limit = text.partition(":")
            try:
                found[metric] = above_zero(limit)
            except (ValueError, argparse.ArgumentTypeError):
                parser.error(f"argument --goodput: {text!r}: write a metric and milliseconds, as ttft:200")
            if metric not in GOODPUT_METRICS:
                parser.error(f"argument --goodput: {metric!r} is none of {', '.join(GOODPUT_METRICS)}")
        namespace.goodput = found


def above_zero(text: str) -> float:
    """A number above 0; inf is one."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return value


def at_least(low: int) -> Callable[[str], int]:
    """A parser of whole numbers from `low` on."""

    def number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{text}: must be at least {low}")
        return value

    return number


def between(low: float, high: float) -> Callable[[str], float]:
    """A parser of numbers from `low` to `high`."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}: must be from {low:g} to {high:g}")
        return value

    return number


def numbers(one: Callable[[str], Number]) -> Callable[[str], list[Number]]:
    """A parser of lists with commas."""

    def numbers(text: str) -> list[Number]:
        return [one(part) for part in text.split(",")]

    return numbers


def metric_names(text: str) -> list[str]:
    """Metrics with commas."""
    names = text.split(",")
    for name in names:
        if name not in METRICS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(METRICS)}")
    return names


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return found
