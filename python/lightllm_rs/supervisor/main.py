"""Runs a service from settings to exit code."""

from __future__ import annotations

import contextlib
import logging
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

import setproctitle

from lightllm_rs import __version__
from lightllm_rs.messages.sockets import EndpointTooLong, close_context, endpoint
from lightllm_rs.settings import ServeSettings
from lightllm_rs.settings.checks import warnings
from lightllm_rs.supervisor.announce import curl_line, emphasised, start_table
from lightllm_rs.supervisor.child_process import ChildProcess, Command, default_command
from lightllm_rs.supervisor.device import check_text, check_visual, choose_device, visible_gpus, with_budgets
from lightllm_rs.supervisor.errors import Interrupted, ServiceError
from lightllm_rs.supervisor.fleet import Fleet
from lightllm_rs.supervisor.listener import HttpPort, listen, url
from lightllm_rs.supervisor.model import Model, find_model
from lightllm_rs.supervisor.roster import Roster
from lightllm_rs.supervisor.run_dir import RunDirectory
from lightllm_rs.supervisor.service import Service
from lightllm_rs.supervisor.signals import SignalPipe, interrupt_on_signals

OPEN_FILES = 65_536

log = logging.getLogger(__name__)


def serve(settings: ServeSettings, places: Mapping[str, str], command: Command = default_command) -> int:
    """Runs the service until a signal ends it. Returns the exit code; prints one line for whatever goes wrong.

    Args:
        places: where each setting was given that was, by its name (see `settings.sources.load_with_places`).
    """
    interrupt_on_signals()
    allow_many_files()
    setproctitle.setproctitle("lightllm-rs: supervisor")
    setproctitle.setthreadtitle("llrs-supervisor")
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s supervisor %(levelname)s %(message)s", force=True
    )
    try:
        _serve(settings, places, command)
    except Interrupted:
        return 0
    except ServiceError as error:
        print(f"lightllm-rs: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    return 0


def _serve(settings: ServeSettings, places: Mapping[str, str], command: Command) -> None:
    began = time.monotonic()
    gpus = visible_gpus()
    device = choose_device(settings, gpus)
    settings = with_budgets(settings, device)
    for line in warnings(settings):
        log.warning("%s", line)
    with listen(settings.host, settings.port, settings.http_workers) as port:
        model = find_model(settings)
        if model.sees:
            check_visual(settings, device, gpus)
        else:
            check_text(settings, places)
        _say(f"lightllm-rs {__version__}: loading {model.name} on {device}")
        _run(settings, model, device, port, command, began)


def _run(settings: ServeSettings, model: Model, device: str, port: HttpPort, command: Command, began: float) -> None:
    address = url(port, settings.host, settings.ssl_certfile is not None)

    def announce(children: list[ChildProcess]) -> None:
        curl = curl_line(address, model, settings.api_key is not None, settings.ssl_certfile)
        _say(f"{start_table(children, began)}\n")
        _say(f"{emphasised(f'Ready at {address}', sys.stdout)} after {time.monotonic() - began:.1f} s. Try:\n{curl}")

    with ExitStack() as undo:
        signals = SignalPipe()
        undo.callback(signals.close)
        run_dir = RunDirectory()
        undo.callback(run_dir.remove)
        _check_paths(run_dir)
        undo.callback(close_context)
        fleet = Fleet(run_dir.path, signals, command)
        roster = Roster(settings, model, device, run_dir.path, port.descriptors())
        Service(settings, roster, fleet, port, announce).run()


def _check_paths(run_dir: RunDirectory) -> None:
    try:
        endpoint(run_dir.path, "requests-0000")  # the longest of them
    except EndpointTooLong as error:
        raise ServiceError(str(error)) from None


def allow_many_files() -> None:
    """Raises the soft limit of open files, which children inherit: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody may read our standard output any more; the service goes on
        print(text, flush=True)  # noqa: T201
