"""What the router process is told at its start; its Rust loop decodes this."""

from __future__ import annotations

import msgspec


class Scheduling(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """What the scheduler is told beside what the backend can hold.

    Attributes:
        step_tokens: most tokens in one step.
        prefill_chunk: most prompt tokens of one request in one step.
        max_step_us: microseconds of a step with prompts at most while others decode; 0 for no bound.
        plan_lead_us: microseconds before the end of a step at which the plan behind it leaves; 0: as soon as it may.
        balance_tokens: prompt tokens of a step while others decode, or if that is more, those that keep prompts and
            outputs in balance; 0: no such bound.
        queue_requests, queue_tokens: what may wait.
        prefix_cache: whether finished requests leave their pages to others.
        mode: "chunked", "prefill_first" or "decode_first".
        max_wait_tokens: steps that only decode before waiting prompts get one, with "decode_first".
        policy: name of the admission policy.
        policy_parameters: those that differ from the policy's defaults, by name.
        priority_age_us: microseconds of waiting that count as one priority better.
        tenant_quantum: tokens that each tenant gets in one round.
        ttft_target_us: microseconds to the first token of requests without a deadline of their own; 0 for none.
        refuse_late: refuse what can no longer make its deadline.
        bypass_limit: requests that may overtake one that does not fit.
        group_tokens: tokens of an uncached prefix that requests share for the later ones to wait for the first's pages;
            0: they never do.
        eviction: "lru", "lfu" or "cost_aware".
        seed: of all that the scheduler draws.
        debug_checks: check the scheduler's invariants after each call.
    """

    step_tokens: int
    prefill_chunk: int
    max_step_us: int
    plan_lead_us: int
    balance_tokens: int
    queue_requests: int
    queue_tokens: int
    prefix_cache: bool
    mode: str
    max_wait_tokens: int
    policy: str
    policy_parameters: list[tuple[str, float]]
    priority_age_us: int
    tenant_quantum: int
    ttft_target_us: int
    refuse_late: bool
    bypass_limit: int
    group_tokens: int
    eviction: str
    seed: int
    debug_checks: bool


class JournalStart(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A journal to write.

    Attributes:
        path: the file, which is made or emptied.
        tokens: write token ids, and not only hashes of pages.
        key: of the hashes; 16 random bytes.
    """

    path: str
    tokens: bool
    key: bytes


class RouterStart(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One untagged array.

    Attributes:
        protocol: version of the wire.
        process: the router's name.
        requests, plans: endpoints that the router binds.
        control, health, metrics: endpoints that it connects to.
        ranks: backend ranks to wait for.
        client_bound_bytes: bytes of output under way to one HTTP process.
        journal: where to write down what is scheduled, if anywhere.
    """

    protocol: int
    process: str
    requests: str
    plans: str
    control: str
    health: str
    metrics: str
    ranks: int
    client_bound_bytes: int
    scheduling: Scheduling
    journal: JournalStart | None = None
