"""`lightllm-rs bench`."""

from __future__ import annotations

import argparse
import sys

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.flags import add_serve_flags
from lightllm_rs.settings.flags import FlagParser

INTERRUPTED = 130


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The benchmarks with their flags."""
    kinds = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True, parser_class=FlagParser)
    add_serve_flags(_added(kinds, "serve", "load on a running server, and what its clients see"))


def run(parsed: argparse.Namespace) -> int:
    """Runs one benchmark. Returns the exit code."""
    try:
        return _run(parsed)
    except BenchError as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lightllm-rs: stopped", file=sys.stderr)
        return INTERRUPTED


def _run(parsed: argparse.Namespace) -> int:
    from lightllm_rs.bench import serve

    return serve.run(parsed)


def _added(kinds: argparse._SubParsersAction[FlagParser], name: str, help: str) -> FlagParser:
    return kinds.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
