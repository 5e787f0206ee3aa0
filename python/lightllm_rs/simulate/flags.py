"""Flags of `lightllm-rs simulate`."""

from __future__ import annotations

import argparse
from typing import Any

from lightllm_rs.simulate import words

FORMATS = ("azure", "mooncake", "burstgpt", "sharegpt", "journal")


class Once(argparse.Action):
    """Takes one value; a second one, by whichever of its names, is an error and not the one that counts."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Called by argparse."""
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "is given twice: write all values behind one of them, with commas")
        setattr(namespace, self.dest, values)


def flags_given(parsed: argparse.Namespace) -> list[str]:
    """Names of all that was given: what is not as it is without flags."""
    bare = argparse.ArgumentParser()
    add_flags(bare)
    defaults = vars(bare.parse_args([]))
    return [name for name, default in defaults.items() if getattr(parsed, name) != default]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds them all."""
    parser.add_argument("trace", nargs="?", metavar="TRACE", help="file of requests; without it they are synthetic")
    _add_workload(parser.add_argument_group("Workload"))
    _add_scheduler(parser.add_argument_group("Scheduler: several values, separated by commas, make a sweep"))
    group = parser.add_argument_group("Backend")
    group.add_argument(
        "--cost",
        metavar="COST",
        help="time of a step: a file that `profile` wrote, constant:20ms, or roofline:CONFIG.json[:GPU] with GPU h100 "
        "or bandwidth_gbs=3000,tflops=800,overhead_ms=1.4",
    )
    _add_results(parser.add_argument_group("Results"))
    group = parser.add_argument_group("Presets")
    group.add_argument("--preset", metavar="NAME", help="past-future-paper: replay the artifact of that paper")
    group.add_argument("--capacity", metavar="N", type=words.count, help="preset: tokens of the KV cache [120000]")


def _add_workload(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--format", choices=FORMATS, help="of TRACE; without it its first line tells")
    group.add_argument("--block-tokens", metavar="N", type=words.count, help="mooncake: tokens of a hashed block [512]")
    group.add_argument(
        "--prompt-tokens",
        metavar="LENGTHS",
        type=words.lengths,
        help="synthetic prompts: 512, uniform:100:300 or lognormal:MEAN:SIGMA[:MIN:MAX]",
    )
    group.add_argument("--output-tokens", metavar="LENGTHS", type=words.lengths, help="synthetic outputs, likewise")
    group.add_argument(
        "--arrivals",
        metavar="HOW",
        type=words.arrivals,
        help="trace (the default of traces), poisson (of the others), constant, at-once, gamma:SHAPE or "
        "closed:CLIENTS[:THINK_MS]",
    )
    group.add_argument("--rate", metavar="R,...", type=words.numbers, help="requests a second")
    group.add_argument("--rate-scale", metavar="X,...", type=words.numbers, help="times the rate of the trace")
    group.add_argument("--requests", metavar="N", type=words.count, help="requests at most")
    group.add_argument("--seconds", metavar="S", type=words.number, help="seconds of arrivals at most")
    group.add_argument(
        "--max-tokens",
        metavar="N",
        type=words.count,
        help="what clients ask for, however long their outputs get [exactly what they get]",
    )
    group.add_argument(
        "--shared-prefix",
        metavar="TOKENS[:GROUPS]",
        type=words.shared_prefix,
        help="tokens before each prompt, of one or several kinds",
    )
    group.add_argument(
        "--image",
        metavar="AFTER:TOKENS:TIME",
        type=words.image,
        help="an image in each prompt: tokens before it, its own, and when after its arrival it is ready: 32:256:80ms",
    )
    group.add_argument("--tenants", metavar="N", type=words.count, help="tenants to whom requests are given at random")
    group.add_argument("--priorities", metavar="P,...", type=words.integers, help="one of these at random")
    group.add_argument("--deadline", metavar="TIME", type=words.milliseconds, help="for the first token: 500ms, 2s")
    group.add_argument(
        "--skip-too-large",
        action="store_true",
        help="count requests that can never run among the refused, in place of ending with the first of them",
    )
    group.add_argument("--n", metavar="N", type=words.count, help="outputs of each prompt")


def _add_scheduler(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--policy",
        "--admission-policy",
        metavar="NAME[:KEY=X]...,...",
        type=words.policies,
        action=Once,
        help="who may run beside others; see docs/admission.md",
    )
    group.add_argument(
        "--schedule-mode",
        "--mode",
        metavar="MODE,...",
        type=words.names,
        action=Once,
        help="chunked, prefill-first, decode-first",
    )
    group.add_argument("--eviction-policy", metavar="NAME,...", type=words.names, help="lru, lfu, cost-aware")
    group.add_argument("--kv-cache-tokens", metavar="N", type=words.count, help="tokens in the KV cache")
    group.add_argument("--page-size", metavar="N", type=words.count, help="tokens of one page of it")
    group.add_argument("--max-num-seqs", metavar="N", type=words.count, help="most requests that run at once")
    group.add_argument("--max-model-len", metavar="N", type=words.count, help="most tokens of prompt and output")
    group.add_argument("--max-num-batched-tokens", metavar="N", type=words.count, help="most tokens in one step")
    group.add_argument("--chunked-prefill-size", metavar="N", type=words.count, help="most of one prompt in one step")
    group.add_argument(
        "--enable-prefix-caching",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="keep the KV cache of finished requests for others [yes]",
    )
    group.add_argument(
        "--set",
        metavar="KEY=X,...",
        type=words.setting,
        action="append",
        default=[],
        help="any other setting of the scheduler, by its name in Python: order.bypass_limit=0,64",
    )
    group.add_argument(
        "--seed",
        metavar="N",
        type=words.seeds,
        default=None,
        help="of all that draws; several make a sweep [0; presets 1]",
    )


def _add_results(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--slo-ttft", metavar="TIME", type=words.milliseconds, help="goodput: time to the first token")
    group.add_argument("--slo-itl", metavar="TIME", type=words.milliseconds, help="goodput: mean time between tokens")
    group.add_argument("--slo-e2e", metavar="TIME", type=words.milliseconds, help="goodput: time to the last token")
    group.add_argument("--json", metavar="FILE", help="write a JSON list; - is standard output, without the table")
    group.add_argument("--csv", metavar="FILE", help="write one line for each request")
    group.add_argument(
        "--journal", metavar="FILE", help="write a journal of the scheduler, for replay; of one cell only"
    )
    group.add_argument("--html", metavar="FILE", help="write a page with plots")
    group.add_argument("--jobs", metavar="N", type=words.count, help="simulations at once [all cores]")
