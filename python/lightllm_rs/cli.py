"""The command `lightllm-rs`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lightllm_rs import __version__
from lightllm_rs.settings import SettingsError
from lightllm_rs.settings.flags import FlagParser, add_flags, normalised
from lightllm_rs.settings.sources import load

BAD_FLAGS = 2


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = FlagParser(prog="lightllm-rs", description="An LLM server with a Rust control plane.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=FlagParser)
    serve = commands.add_parser(
        "serve", help="serve a model over HTTP", description="Serve a model over HTTP.", allow_abbrev=False
    )
    add_flags(serve)
    commands.add_parser("version", help="print the version")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code."""
    try:
        parsed = parser().parse_args(normalised(sys.argv[1:] if arguments is None else arguments))
        if parsed.command == "version":
            print(__version__)
            return 0
        settings = load(parsed)
    except SettingsError as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return BAD_FLAGS
    try:
        from lightllm_rs.supervisor.main import serve  # here, so that a mistyped flag is answered at once

        return serve(settings)
    except KeyboardInterrupt:  # before the supervisor has taken over the signals
        return 0
