"""Enters the Rust loop of the router."""

from __future__ import annotations

from lightllm_rs.messages.frames import PROTOCOL, encode
from lightllm_rs.messages.router_start import RouterStart
from lightllm_rs.process.child import Child, StartError

CLIENT_BOUND_BYTES = 64 << 20
"""Output under way to one HTTP process before the router ends that process's requests; it reads all it gets at once,
so that only a stuck one comes near."""


def router_start(child: Child) -> RouterStart:
    """What the loop needs to know, from the child's start."""
    start, settings = child.start, child.start.settings
    return RouterStart(
        protocol=PROTOCOL,
        process=start.process,
        requests=child.endpoint(f"requests-{start.epoch}"),
        plans=child.endpoint(f"plans-{start.epoch}"),
        control=child.endpoint("control"),
        health=child.endpoint("health"),
        metrics=child.endpoint("metrics"),
        ranks=settings.tp,
        step_tokens=settings.max_num_batched_tokens,
        prefill_chunk=settings.chunked_prefill_size,
        queue_requests=settings.max_queued_requests,
        queue_tokens=settings.max_queued_tokens,
        prefix_cache=settings.prefix_caching,
        client_bound_bytes=CLIENT_BOUND_BYTES,
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
        _core.run_router(encode(router_start(child)))
    except _core.RouterError as error:
        raise StartError(str(error)) from None
