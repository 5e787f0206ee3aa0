"""Wrong calls are typed exceptions that name what is wrong, and change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from lightllm_rs import scheduling
from lightllm_rs._core import break_scheduler
from lightllm_rs.scheduling import (
    Attach,
    BadImage,
    BadResult,
    ClockRanBackwards,
    ContextExceeded,
    DuplicateId,
    EmptyPrompt,
    InvalidArgument,
    InvalidConfig,
    NoSuchImage,
    NothingToDo,
    OrderConfig,
    Output,
    PolicyConfig,
    PromptTooLong,
    QueueFull,
    Request,
    RowResult,
    Scheduler,
    SchedulerBroken,
    SchedulerConfig,
    SchedulerError,
    StepPlan,
    StepResult,
    TooLargeForPool,
    UnexpectedStep,
)

SMALL = {"pages": 8, "page_size": 4, "slots": 2, "context": 64, "queue_tokens": 64, "queue_requests": 2}


def attributes(error: BaseException) -> dict[str, Any]:
    return vars(error)


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: Request(-1, [1], 1), "id"),
        (lambda: Request(2**64, [1], 1), "id"),
        (lambda: Request(1, [1, -2], 1), "prompt[1]"),
        (lambda: Request(1, [2**32], 1), "prompt[0]"),
        (lambda: Request(1, [1], -1), "max_tokens"),
        (lambda: Request(1, [1], 10**5000), "max_tokens"),
        (lambda: Request(1, [1], 1, cache_salt=2**128), "cache_salt"),
        (lambda: Request(1, [1], 1, priority=1001), "priority"),
        (lambda: Request(1, [1], 1, priority=-(2**40)), "priority"),
        (lambda: Request(1, [1], 1, siblings=[2, 2**64]), "siblings[1]"),
        (lambda: Request(1, [1], 1, deadline=-1), "deadline"),
        (lambda: Request(1, [1], 1, images=[(0, 1)]), "images[0]"),
        (lambda: Request(1, [1], 1, images=[(0, 1, True), (0, -1, True)]), "images[1][1]"),
        (lambda: Attach(slot=0, request=1, prompt_len=1, images=(1,)), "images"),
        (lambda: SchedulerConfig(pages=-1), "pages"),
        (lambda: SchedulerConfig(mode="prefil_first"), "mode"),
        (lambda: SchedulerConfig(eviction="random"), "eviction"),
        (lambda: OrderConfig(tenant_quantum=2**32), "tenant_quantum"),
        (lambda: Output(request=1, finish="stopped"), "finish"),
        (lambda: Output(request=1, failure="no"), "finish"),
        (lambda: StepPlan(step=1, copies=[(1, 2, 3)]), "copies[0]"),
        (lambda: RowResult(row=0, tokens=[-1]), "tokens[0]"),
        (lambda: StepResult(step=-1), "step"),
    ],
)
def test_values_out_of_range_are_named(make: Any, parameter: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert attributes(caught.value)["parameter"] == parameter
    assert str(caught.value) == f"{parameter} {caught.value.reason}"
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, SchedulerError)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Request("1", [1], 1), "id must be an integer, not str"),
        (lambda: Request(1, "abc", 1), "prompt must be a sequence, not str"),
        (lambda: Request(1, 5, 1), "prompt must be a sequence, not int"),
        (lambda: Request(1, [1, None], 1), r"prompt\[1\] must be an integer, not NoneType"),
        (lambda: Request(1, [1.0], 1), r"prompt\[0\] must be an integer, not float"),
        (lambda: Request(1, [1], 1, wants_history="yes"), "wants_history must be True or False, not str"),
        (lambda: Request(1, [1], 1, nonsense=1), "nonsense"),
        (lambda: Request(), "id"),
        (lambda: SchedulerConfig(4096), "positional"),
        (lambda: SchedulerConfig(policy=3), "policy must be a name or a PolicyConfig, not int"),
        (lambda: SchedulerConfig(order="first"), "order must be a OrderConfig, not str"),
        (lambda: PolicyConfig(3), "name must be a string, not int"),
        (lambda: PolicyConfig("ema", token_ratio="high"), "token_ratio must be a number, not str"),
        (lambda: StepResult(step=1, rows=[3]), r"rows\[0\] must be a RowResult, not int"),
        (lambda: RowResult(row=0, failed=3), "failed must be a string, not int"),
        (lambda: Scheduler({}), "config must be a SchedulerConfig, not dict"),
        (lambda: Scheduler(SchedulerConfig()).add([1, 2], 0), "request must be a Request, not list"),
        (lambda: Scheduler(SchedulerConfig()).schedule(0.5), "now must be an integer, not float"),
        (lambda: Scheduler(SchedulerConfig()).schedule(), "now"),
        (lambda: Scheduler(SchedulerConfig()).update(None, 0), "result must be a StepResult, not NoneType"),
        (lambda: Scheduler(SchedulerConfig()).abort("1"), "request must be an integer, not str"),
        (lambda: "1" in Scheduler(SchedulerConfig()), "request must be an integer, not str"),
    ],
)
def test_wrong_types_are_named(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: SchedulerConfig(pages=0), "pages"),
        (lambda: SchedulerConfig(pages=1 << 30), "pages"),
        (lambda: SchedulerConfig(step_tokens=1), "step_tokens"),
        (lambda: SchedulerConfig(queue_tokens=1), "queue_tokens"),
        (lambda: SchedulerConfig(policy="optimistic"), "policy"),
        (lambda: PolicyConfig("past_future", resreve=0.1), "policy"),
        (lambda: PolicyConfig("past_future", reserve=2), "reserve"),
        (lambda: PolicyConfig("past_future", reserve=float("nan")), "reserve"),
        (lambda: PolicyConfig("past_future", window=10, prior=20), "prior"),
    ],
)
def test_bad_settings_are_named(make: Any, setting: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        make()
    assert caught.value.setting == setting
    assert str(caught.value) == f"{setting}: {caught.value.reason}"


def test_each_refusal_of_a_request_has_its_class_and_figures() -> None:
    scheduler = Scheduler(SchedulerConfig(**SMALL))
    scheduler.add(Request(1, [1], 1), 0)
    cases = [
        (Request(2, [], 1), EmptyPrompt, {}),
        (Request(2, [1], 0), NothingToDo, {}),
        (Request(2, range(65), 1), PromptTooLong, {"prompt": 65, "context": 64}),
        (Request(2, range(60), 5), ContextExceeded, {"prompt": 60, "max_tokens": 5, "context": 64}),
        (Request(2, range(30), 3), TooLargeForPool, {"needed": 9, "pages": 8}),
        (Request(2, [1], 1, images=[(0, 2, True)]), BadImage, {"image": 0, "reason": "it goes past the prompt"}),
        (Request(1, [1], 1), DuplicateId, {"request": 1}),
    ]
    before = scheduler.stats()
    for request, expected, figures in cases:
        with pytest.raises(expected) as caught:
            scheduler.add(request, 0)
        assert type(caught.value) is expected
        assert attributes(caught.value) == figures
    with pytest.raises(NoSuchImage) as missing:
        scheduler.image_ready(1, 0, 0)
    assert attributes(missing.value) == {"request": 1, "image": 0, "images": 0}
    assert scheduler.stats() == before


def test_a_full_queue_says_when_to_come_back() -> None:
    scheduler = Scheduler(SchedulerConfig(**SMALL))
    for request in range(4):
        scheduler.add(Request(request, [1, 2], 1), 0)
    with pytest.raises(QueueFull) as caught:
        scheduler.add(Request(9, [1], 1), 0)
    assert attributes(caught.value) == {"requests": 4, "tokens": 8, "retry_after_s": 1}
    assert 9 not in scheduler
    assert scheduler.stats().refused_queue_full == 1


def test_time_does_not_run_backwards() -> None:
    scheduler = Scheduler(SchedulerConfig(**SMALL))
    scheduler.add(Request(1, [1], 2), 100)
    calls = [
        lambda: scheduler.add(Request(2, [1], 1), 99),
        lambda: scheduler.schedule(0),
        lambda: scheduler.update(StepResult(step=1), 99),
    ]
    for call in calls:
        with pytest.raises(ClockRanBackwards) as caught:
            call()
        assert caught.value.latest == 100
        assert caught.value.now in (0, 99)
    assert scheduler.schedule(100) is not None


def test_results_that_contradict_their_plan() -> None:
    scheduler = Scheduler(SchedulerConfig(**SMALL))
    with pytest.raises(UnexpectedStep) as unexpected:
        scheduler.update(StepResult(step=7), 0)
    assert attributes(unexpected.value) == {"got": 7, "expected": None}
    scheduler.add(Request(1, [1], 2), 0)
    plan = scheduler.schedule(0)
    assert plan is not None
    with pytest.raises(UnexpectedStep) as unexpected:
        scheduler.update(StepResult(step=2), 0)
    assert unexpected.value.expected == 1
    for rows in ([], [RowResult(row=5, tokens=[1])], [RowResult(row=0)], [RowResult(row=0, tokens=[1, 2])]):
        with pytest.raises(BadResult) as bad:
            scheduler.update(StepResult(step=1, rows=rows), 0)
        assert bad.value.step == 1
        assert bad.value.reason in str(bad.value)
    assert scheduler.update(StepResult(step=1, rows=[RowResult(row=0, tokens=[1])]), 0)
    assert scheduler.fail_step(77) == []
    assert scheduler.abort(77) is False


def test_a_broken_scheduler_stays_broken_and_python_lives(capfd: pytest.CaptureFixture[str]) -> None:
    scheduler, other = Scheduler(SchedulerConfig(**SMALL)), Scheduler(SchedulerConfig(**SMALL))
    with pytest.raises(SchedulerBroken) as caught:
        break_scheduler(scheduler, "made up")
    assert caught.value.reason == "made up"
    assert isinstance(caught.value, RuntimeError)
    calls = [
        lambda: scheduler.add(Request(1, [1], 1), 0),
        lambda: scheduler.abort(1),
        lambda: scheduler.schedule(0),
        lambda: scheduler.update(StepResult(step=1), 0),
        lambda: scheduler.stats(),
        lambda: scheduler.check_invariants(),
        lambda: 1 in scheduler,
    ]
    for call in calls:
        with pytest.raises(SchedulerBroken, match="made up; make a new scheduler"):
            call()
    other.add(Request(1, [1], 1), 0)
    assert "made up" in capfd.readouterr().err, "where it broke is on standard error"


def test_every_exception_is_in_the_tree() -> None:
    found = [
        value
        for name in scheduling.__all__
        if isinstance(value := getattr(scheduling, name), type) and issubclass(value, BaseException)
    ]
    assert len(found) >= 15
    for error in found:
        assert issubclass(error, SchedulerError)
        assert error.__doc__
        assert error.__module__ == "lightllm_rs._core"


def test_a_length_that_lies_takes_no_memory() -> None:
    class Endless:
        def __len__(self) -> int:
            return 2**62

        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise IndexError
            return index

    request = Request(1, Endless(), 5)  # type: ignore[arg-type]
    assert request.prompt == (0, 1, 2)
