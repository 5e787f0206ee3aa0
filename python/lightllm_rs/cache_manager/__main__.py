"""`python -m lightllm_rs.cache_manager DIRECTORY`: a cache manager alone, without the rest of the service."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from lightllm_rs import _core
from lightllm_rs.cache_manager.main import GIB, SHARED_MEMORY
from lightllm_rs.messages import control
from lightllm_rs.messages.cache import CacheStart
from lightllm_rs.messages.frames import PROTOCOL, encode
from lightllm_rs.messages.sockets import Hub, endpoint

PROCESS = "cache"


def main() -> int:
    """Serves until SIGTERM or Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lightllm_rs.cache_manager", description=__doc__)
    parser.add_argument("directory", type=Path, help="for its sockets; clients connect to cache.sock")
    parser.add_argument("--size", type=float, default=0.0, help="GiB of shared memory [4 or a quarter of /dev/shm]")
    options = parser.parse_args()
    directory = options.directory.resolve()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    hub = Hub(endpoint(directory, "control"))
    start = CacheStart(
        protocol=PROTOCOL,
        process=PROCESS,
        clients=endpoint(directory, "cache"),
        control=endpoint(directory, "control"),
        health="",
        metrics="",
        arena=str(SHARED_MEMORY / f"lightllm-rs-{directory.name}-alone"),
        bytes=round(options.size * GIB),
        debug_checks=False,
    )
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    failures: list[Exception] = []

    def serve() -> None:
        try:
            _core.run_cache_manager(encode(start))
        except _core.CacheManagerError as error:
            failures.append(error)
            signal.pthread_kill(waiter, signal.SIGTERM)

    waiter = threading.get_ident()
    loop = threading.Thread(target=serve)
    loop.start()
    hello = hub.receive(10_000)
    ready = hub.receive(60_000)
    if ready is not None and isinstance(control.child_decoder.decode(ready[1]), control.Ready):
        sys.stdout.write(f"ready: {start.clients}\n")
        sys.stdout.flush()
    signal.sigwait(signals)
    if hello is not None and not failures:
        hub.send(hello[0], encode(control.Stop()))
    loop.join()
    hub.close()
    for failure in failures:
        sys.stderr.write(f"lightllm-rs: {failure}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
