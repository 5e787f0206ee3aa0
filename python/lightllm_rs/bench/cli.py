"""`lightllm-rs bench`."""

from __future__ import annotations

import argparse
import sys

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.flags import add_latency_flags, add_serve_flags, add_startup_flags, add_throughput_flags
from lightllm_rs.settings.flags import FlagParser
from lightllm_rs.settings.flags import add_flags as add_settings
from lightllm_rs.settings.sources import load

INTERRUPTED = 130


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The benchmarks with their flags."""
    kinds = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True, parser_class=FlagParser)
    add_serve_flags(_added(kinds, "serve", "load on a running server, and what its clients see"))
    latency = _added(kinds, "latency", "one batch through router and backends, without HTTP")
    throughput = _added(kinds, "throughput", "all requests at once through router and backends, without HTTP")
    for added, add in ((latency, add_latency_flags), (throughput, add_throughput_flags)):
        add(added)
        add_settings(added)
    add_startup_flags(_added(kinds, "startup", "seconds from the command to a server that is ready"))


def run(parsed: argparse.Namespace) -> int:
    """Runs one benchmark. Returns the exit code. Raises SettingsError."""
    try:
        return _run(parsed)
    except BenchError as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lightllm-rs: stopped", file=sys.stderr)
        return INTERRUPTED


def _run(parsed: argparse.Namespace) -> int:
    # What one benchmark needs is not imported for another.
    if parsed.benchmark == "serve":
        from lightllm_rs.bench import serve

        return serve.run(parsed)
    if parsed.benchmark == "startup":
        from lightllm_rs.bench import startup

        return startup.run(parsed, parsed.flags)
    settings = load(parsed)
    if parsed.benchmark == "latency":
        from lightllm_rs.bench import latency

        return latency.run(parsed, settings)
    from lightllm_rs.bench import throughput

    return throughput.run(parsed, settings)


def _added(kinds: argparse._SubParsersAction[FlagParser], name: str, help: str) -> FlagParser:
    return kinds.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
