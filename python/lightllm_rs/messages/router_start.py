"""What the router process is told at its start; its Rust loop decodes this."""

from __future__ import annotations

import msgspec


class RouterStart(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One untagged array.

    Attributes:
        protocol: version of the wire.
        process: the router's name.
        requests, plans: endpoints that the router binds.
        control, health, metrics: endpoints that it connects to.
        ranks: backend ranks to wait for.
        step_tokens: most tokens in one step.
        prefill_chunk: most prompt tokens of one request in one step.
        queue_requests, queue_tokens: what may wait.
        prefix_cache: whether finished requests leave their pages to others.
        client_bound_bytes: bytes of output under way to one HTTP process.
    """

    protocol: int
    process: str
    requests: str
    plans: str
    control: str
    health: str
    metrics: str
    ranks: int
    step_tokens: int
    prefill_chunk: int
    queue_requests: int
    queue_tokens: int
    prefix_cache: bool
    client_bound_bytes: int
