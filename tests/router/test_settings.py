"""What the operator sets is what the router process is started with."""

from __future__ import annotations

from typing import get_args, get_type_hints

from lightllm_rs.router.main import journal, scheduling
from lightllm_rs.scheduling import PolicyConfig, SchedulerConfig
from lightllm_rs.settings import ServeSettings


def test_defaults_are_the_schedulers_own() -> None:
    ours, theirs = scheduling(ServeSettings()), SchedulerConfig()
    assert ours.policy == theirs.policy.name
    assert ours.policy_parameters == []
    assert (ours.mode, ours.max_wait_tokens, ours.eviction) == (theirs.mode, theirs.max_wait_tokens, theirs.eviction)
    assert (ours.seed, ours.prefix_cache) == (theirs.seed, theirs.prefix_cache)
    assert ours.priority_age_us * 1000 == theirs.order.priority_age_ns
    assert ours.ttft_target_us * 1000 == theirs.order.ttft_target_ns
    for name in ("tenant_quantum", "refuse_late", "bypass_limit", "group_tokens"):
        assert getattr(ours, name) == getattr(theirs.order, name), name


def test_every_policy_but_the_oracle_can_be_served() -> None:
    choices = get_args(get_type_hints(ServeSettings)["admission_policy"])
    assert set(choices) == set(PolicyConfig.NAMES) - {"oracle"}, "an oracle knows the lengths, which no server does"


def test_names_and_parameters_are_those_of_the_scheduler() -> None:
    settings = ServeSettings(
        schedule_mode="decode-first",
        eviction_policy="cost-aware",
        admission_policy="past_future",
        past_future_window=100,
        past_future_reserve=0.1,
        admission_parameters=("futures=9",),
        priority_age_seconds=0.5,
        ttft_target_ms=1.5,
    )
    found = scheduling(settings)
    assert (found.mode, found.eviction, found.policy) == ("decode_first", "cost_aware", "past_future")
    parameters = dict(found.policy_parameters)
    assert parameters == {"window": 100, "prior": 50, "reserve": 0.1, "futures": 9}
    assert PolicyConfig(found.policy, **parameters).name == "past_future"
    assert (found.priority_age_us, found.ttft_target_us) == (500_000, 1500)


def test_each_start_has_a_journal_and_a_key_of_its_own() -> None:
    settings = ServeSettings(journal="a.jsonl", journal_tokens=True)
    first, again = journal(settings, 0), journal(settings, 2)
    assert first is not None
    assert again is not None
    assert (first.path, again.path, first.tokens) == ("a.jsonl", "a.jsonl.2", True)
    assert len(first.key) == 16
    assert first.key != again.key
    assert journal(ServeSettings(), 0) is None
