"""Enters the Rust loop of the router."""

from __future__ import annotations

import secrets

from lightllm_rs.messages.frames import PROTOCOL, encode
from lightllm_rs.messages.router_start import JournalStart, RouterStart, Scheduling
from lightllm_rs.process.child import Child, StartError
from lightllm_rs.settings import ServeSettings
from lightllm_rs.settings.checks import POLICY_PARAMETERS

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
        client_bound_bytes=CLIENT_BOUND_BYTES,
        scheduling=scheduling(settings),
        journal=journal(settings, start.epoch),
    )


def scheduling(settings: ServeSettings) -> Scheduling:
    """The scheduler's part of the settings."""
    return Scheduling(
        step_tokens=settings.max_num_batched_tokens,
        prefill_chunk=settings.chunked_prefill_size,
        max_step_us=round(settings.max_step_ms * 1e3),
        plan_lead_us=round(settings.plan_lead_ms * 1e3),
        balance_tokens=settings.balance_tokens,
        queue_requests=settings.max_queued_requests,
        queue_tokens=settings.max_queued_tokens,
        prefix_cache=settings.prefix_caching,
        mode=settings.schedule_mode.replace("-", "_"),
        max_wait_tokens=settings.router_max_wait_tokens,
        policy=settings.admission_policy,
        policy_parameters=policy_parameters(settings),
        priority_age_us=round(settings.priority_age_seconds * 1e6),
        tenant_quantum=settings.tenant_quantum,
        ttft_target_us=round(settings.ttft_target_ms * 1e3),
        refuse_late=settings.refuse_late,
        bypass_limit=settings.bypass_limit,
        group_tokens=settings.prefix_group_tokens,
        eviction=settings.eviction_policy.replace("-", "_"),
        seed=settings.router_seed,
        debug_checks=settings.debug_checks,
    )


def policy_parameters(settings: ServeSettings) -> list[tuple[str, float]]:
    """What the operator says about the admission policy, in the scheduler's words."""
    given = [(name, getattr(settings, field)) for field, (_, name) in POLICY_PARAMETERS.items()]
    if settings.past_future_window is not None:
        given.append(("prior", settings.past_future_window // 2))
    others = [parameter.split("=") for parameter in settings.admission_parameters]
    return [(name, float(value)) for name, value in [*given, *others] if value is not None]


def journal(settings: ServeSettings, epoch: int) -> JournalStart | None:
    """The journal of one start of the router. Each gets a key of its own, which nobody keeps."""
    if settings.journal is None:
        return None
    path = settings.journal + (f".{epoch}" if epoch else "")
    return JournalStart(path, settings.journal_tokens, secrets.token_bytes(16))


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
