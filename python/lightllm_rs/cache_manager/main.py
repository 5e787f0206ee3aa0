"""Enters the Rust loop of the cache manager."""

from __future__ import annotations

from pathlib import Path

from lightllm_rs.messages.cache import CacheStart
from lightllm_rs.messages.frames import PROTOCOL, encode
from lightllm_rs.process.child import Child, StartError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the arena is made there exclusively and for this user alone

GIB = 1 << 30


def cache_start(child: Child) -> CacheStart:
    """What the loop needs to know, from the child's start."""
    start = child.start
    run = Path(start.run_dir).name.removeprefix("llrs-")
    return CacheStart(
        protocol=PROTOCOL,
        process=start.process,
        clients=child.endpoint(f"cache-{start.epoch}"),
        control=child.endpoint("control"),
        health=child.endpoint("health"),
        metrics=child.endpoint("metrics"),
        arena=str(SHARED_MEMORY / f"lightllm-rs-{run}-{start.epoch}"),
        bytes=round(start.settings.mm_cache_size * GIB),
        debug_checks=start.settings.debug_checks,
    )


def run(child: Child) -> None:
    """Returns when the supervisor says Stop. The loop itself says hello, ready and its last words to the supervisor."""
    try:
        from lightllm_rs import _core
    except ImportError as error:
        raise StartError(
            f"the compiled part of lightllm-rs cannot be loaded: {error}; install the package again"
        ) from None
    try:
        _core.run_cache_manager(encode(cache_start(child)))
    except _core.CacheManagerError as error:
        raise StartError(str(error)) from None
