"""The command `lightllm-rs`."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightllm_rs import __version__
from lightllm_rs.settings import ServeSettings, SettingsError
from lightllm_rs.settings.flags import FlagParser, add_flags, normalised
from lightllm_rs.settings.sources import load, load_with_places

FAILED = 1
BAD_FLAGS = 2


@dataclass(frozen=True)
class Command:
    """One command. What it needs is imported when it is chosen, so that a mistyped flag is answered at once.

    Attributes:
        help: one line.
        add_flags: adds its flags to its parser.
        run: carries it out; returns the exit code. Raises SettingsError.
    """

    help: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _serve(parsed: argparse.Namespace) -> int:
    settings, places = load_with_places(parsed)
    _check_policy(settings)
    try:
        from lightllm_rs.supervisor.main import serve

        return serve(settings, places)
    except KeyboardInterrupt:  # before the supervisor has taken over the signals
        return 0


def _check_policy(settings: ServeSettings) -> None:
    """Raises SettingsError where the scheduler would refuse the policy's parameters, before anything starts."""
    from lightllm_rs._core import PolicyConfig, SchedulerError
    from lightllm_rs.router.main import policy_parameters

    try:
        PolicyConfig(settings.admission_policy, **dict(policy_parameters(settings)))
    except (SchedulerError, TypeError) as error:
        raise SettingsError(f"--admission-policy {settings.admission_policy}: {error}") from None


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    from lightllm_rs.simulate.flags import add_flags

    add_flags(parser)


def _simulate(parsed: argparse.Namespace) -> int:
    from lightllm_rs.simulate.cli import run

    return run(parsed)


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("journal", metavar="FILE", help="file that `serve --journal` wrote")
    parser.add_argument("--count", action="store_true", help="go on after the first difference, and count them")


def _replay(parsed: argparse.Namespace) -> int:
    from lightllm_rs.replay.cli import run

    return run(parsed.journal, count=parsed.count)


def _add_profile(parser: argparse.ArgumentParser) -> None:
    from lightllm_rs.profile.cli import add_own_flags

    add_flags(parser)
    add_own_flags(parser)


def _profile(parsed: argparse.Namespace) -> int:
    from lightllm_rs.profile.cli import run

    return run(load(parsed), parsed.output, parsed.seconds_a_point, parsed.trace_shapes)


def _add_trace(parser: argparse.ArgumentParser) -> None:
    from lightllm_rs.profile.cli import add_show_flags

    add_show_flags(parser)


def _trace(parsed: argparse.Namespace) -> int:
    from lightllm_rs.profile.cli import show

    return show(parsed.traces, parsed.names)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    from lightllm_rs.bench.cli import add_flags as add_bench_flags

    add_bench_flags(parser)


def _bench(parsed: argparse.Namespace) -> int:
    from lightllm_rs.bench.cli import run

    return run(parsed)


def _version(_parsed: argparse.Namespace) -> int:
    print(__version__)
    return 0


COMMANDS = {
    "serve": Command("serve a model over HTTP", add_flags, _serve),
    "simulate": Command("run the scheduler on a trace under a virtual clock", _add_simulate, _simulate),
    "replay": Command("check that a journal's plans come out the same again", _add_replay, _replay),
    "profile": Command("measure a backend's steps, for simulate --cost or as traces", _add_profile, _profile),
    "trace": Command("show how busy the device was in a trace", _add_trace, _trace),
    "bench": Command("measure a server, the engine alone, or a start", _add_bench, _bench),
    "version": Command("print the version", lambda _parser: None, _version),
}


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """All commands; with the flags of the chosen one, or of all."""
    top = FlagParser(prog="lightllm-rs", description="An LLM server with a Rust control plane.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=FlagParser)
    for name, command in COMMANDS.items():
        description = command.help[0].upper() + command.help[1:] + "."
        added = commands.add_parser(name, help=command.help, description=description, allow_abbrev=False)
        if chosen in (None, name):
            command.add_flags(added)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code."""
    given = normalised(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = parser(next((word for word in given if word in COMMANDS), "version")).parse_args(given)
        if sys.stdout is None:
            raise SettingsError("standard output is closed: open it, or send it to /dev/null")
        code = COMMANDS[parsed.command].run(parsed)
        sys.stdout.flush()  # here, where it can still be told that nobody took it
        return code
    except SettingsError as error:
        print(f"lightllm-rs: {error}", file=sys.stderr)
        return BAD_FLAGS
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO):
            raise
        print(f"lightllm-rs: the output could not be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try again at its end
        return FAILED
