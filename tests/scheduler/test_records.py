"""The records of the bindings: constructors, properties, comparison, representation."""

from __future__ import annotations

import inspect

import pytest

import lightllm_rs
from lightllm_rs import scheduling
from lightllm_rs.scheduling import (
    Admission,
    Attach,
    OrderConfig,
    Output,
    PolicyConfig,
    Request,
    Row,
    RowResult,
    SchedulerConfig,
    StepPlan,
    StepResult,
)

RECORDS = {
    Admission: {"cached_tokens": 3, "queue_ns": 5, "image_wait_ns": 7},
    Attach: {"slot": 1, "request": 2, "prompt_len": 3, "history": (4, 5), "images": (1, 3)},
    OrderConfig: {
        "priority_age_ns": 1,
        "tenant_quantum": 2,
        "ttft_target_ns": 3,
        "refuse_late": True,
        "bypass_limit": 4,
        "group_tokens": 5,
    },
    Output: {
        "request": 1,
        "tokens": (2, 3),
        "finish": "failed",
        "failure": "no",
        "admission": Admission(cached_tokens=0, queue_ns=1),
    },
    Request: {
        "id": 1,
        "prompt": (2, 3),
        "max_tokens": 4,
        "end_ids": (5,),
        "min_tokens": 1,
        "cache_salt": 2**127,
        "wants_history": True,
        "prompt_logprobs": True,
        "priority": -7,
        "deadline": 2**63,
        "tenant": 8,
        "class_label": 9,
        "siblings": (10, 11),
        "images": ((0, 1, True), (1, 1, False)),
        "expected_tokens": 3,
    },
    Row: {"slot": 1, "request": 2, "start": 3, "tokens": 4, "new_pages": (5, 6), "emits": True, "from_last": True},
    RowResult: {"row": 1, "tokens": (2,), "failed": "yes"},
    StepPlan: {
        "step": 1,
        "detach": (2,),
        "attach": (Attach(slot=0, request=1, prompt_len=2),),
        "copies": ((3, 4),),
        "rows": (Row(slot=0, request=1, start=0, tokens=2),),
        "token_ids": (5, 6),
    },
    StepResult: {"step": 1, "rows": (RowResult(row=0, tokens=[1]),)},
    SchedulerConfig: {
        "pages": 100,
        "page_size": 4,
        "slots": 8,
        "context": 128,
        "step_tokens": 64,
        "step_ns": 80_000_000,
        "plan_lead_ns": 2_500_000,
        "balance_tokens": 96,
        "shared_rows": 3,
        "shared_tokens": 64,
        "prefill_chunk": 32,
        "queue_requests": 16,
        "queue_tokens": 4096,
        "prefix_cache": False,
        "mode": "decode_first",
        "max_wait_tokens": 3,
        "policy": PolicyConfig("conservative"),
        "order": OrderConfig(bypass_limit=1),
        "eviction": "lru",
        "seed": 9,
        "debug_checks": True,
    },
}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_is_what_it_was_made_of(record: type) -> None:
    fields = RECORDS[record]
    made = record(**fields)
    assert {name: getattr(made, name) for name in fields} == fields
    assert made == record(**fields)
    for name in fields:
        assert getattr(made, name) is not None
        with pytest.raises(AttributeError):
            setattr(made, name, fields[name])
    if record is not Output:  # its failure belongs to its finish
        required = {
            name: fields[name]
            for name, parameter in inspect.signature(record).parameters.items()
            if parameter.default is inspect.Parameter.empty
        }
        assert (made == record(**required)) == (required == fields), "the other fields count"
    assert made != "something else"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_its_representation_makes_it_again(record: type) -> None:
    made = record(**RECORDS[record])
    names = {"true": True, "false": False, **{name: getattr(scheduling, name) for name in scheduling.__all__}}
    assert eval(repr(made), names) == made


@pytest.mark.parametrize("record", [Request, SchedulerConfig, OrderConfig], ids=lambda record: record.__name__)
def test_the_defaults_that_help_shows_are_in_force(record: type) -> None:
    required = {"id": 1, "prompt": (1,), "max_tokens": 1} if record is Request else {}
    made = record(**required)
    for name, parameter in inspect.signature(record).parameters.items():
        if name in required:
            continue
        if name in ("policy", "order"):
            assert isinstance(getattr(made, name), (PolicyConfig, OrderConfig))
            assert made == record(**{name: getattr(made, name)})
        else:
            assert getattr(made, name) == parameter.default, name
        assert record(**required, **{name: None}) == made, "None is the default"


def test_a_policy_has_parameters() -> None:
    for name in PolicyConfig.NAMES:
        policy = PolicyConfig(name)
        assert policy.name == name
        assert PolicyConfig(name, **policy.parameters) == policy
        assert SchedulerConfig(policy=name).policy == policy
    assert PolicyConfig("past_future", reserve=0.05).parameters["reserve"] == 0.05
    assert PolicyConfig("past_future", reserve=0.05) != PolicyConfig("past_future")


def test_long_lists_are_cut_in_representations() -> None:
    text = repr(Request(1, range(5000), 4))
    assert len(text) < 500
    assert "5000 in all" in text


def test_the_package_gives_them_too() -> None:
    assert lightllm_rs.Scheduler is scheduling.Scheduler
    assert lightllm_rs.QueueFull is scheduling.QueueFull
    with pytest.raises(AttributeError, match="no attribute 'Shceduler'"):
        _ = lightllm_rs.Shceduler  # type: ignore[attr-defined]
