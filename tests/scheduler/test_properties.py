"""Random calls: pages are conserved, limits hold, every request has one end, and the same calls give the same plans."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.scheduler_driver import Driver, token
from lightllm_rs.scheduling import (
    NoSuchImage,
    OrderConfig,
    PolicyConfig,
    Request,
    RowResult,
    SchedulerConfig,
    SchedulerError,
    StepResult,
)

MILLISECOND = 1_000_000

configs = st.builds(
    SchedulerConfig,
    pages=st.integers(8, 40),
    page_size=st.integers(1, 8),
    slots=st.integers(1, 4),
    context=st.just(48),
    step_tokens=st.integers(4, 24),
    step_ns=st.sampled_from([0, 1, 20_100_000]),
    plan_lead_ns=st.sampled_from([0, 2_500_000]),
    balance_tokens=st.sampled_from([0, 1, 6]),
    prefill_chunk=st.integers(1, 24),
    queue_requests=st.integers(1, 8),
    queue_tokens=st.integers(48, 200),
    prefix_cache=st.booleans(),
    mode=st.sampled_from(["chunked", "prefill_first", "decode_first"]),
    max_wait_tokens=st.integers(0, 3),
    eviction=st.sampled_from(["lru", "lfu", "cost_aware"]),
    policy=st.sampled_from(PolicyConfig.NAMES),
    order=st.builds(
        OrderConfig,
        priority_age_ns=st.sampled_from([0, 1, 5 * MILLISECOND, 10**12, 2**64 - 1]),
        tenant_quantum=st.integers(0, 50) | st.just(2**32 - 1),
        ttft_target_ns=st.sampled_from([0, 100 * MILLISECOND, 2**64 - 1]),
        refuse_late=st.booleans(),
        bypass_limit=st.integers(0, 3) | st.just(2**32 - 1),
        group_tokens=st.sampled_from([0, 4, 16, 2**32 - 1]),
    ),
    seed=st.integers(0, 2**64 - 1),
)

prompts = st.lists(st.integers(1, 3), min_size=0, max_size=30)
calls = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.fixed_dictionaries(
                {
                    "id": st.integers(0, 9),
                    "prompt": prompts,
                    "max_tokens": st.integers(0, 20),
                    "end_ids": st.lists(st.integers(1, 50), max_size=2),
                    "min_tokens": st.integers(0, 3),
                    "priority": st.integers(-2, 2),
                    "tenant": st.integers(0, 2),
                    "class_label": st.integers(0, 2),
                    "deadline": st.none() | st.integers(0, 10**9),
                    "expected_tokens": st.none() | st.integers(1, 20),
                    "cache_salt": st.integers(0, 1),
                    "siblings": st.just(()) | st.sets(st.integers(10, 14), max_size=2).map(tuple),
                    "images": st.just(())
                    | st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.booleans()), max_size=3).map(sorted),
                }
            ),
        ),
        st.tuples(st.just("abort"), st.integers(0, 14)),
        st.tuples(st.just("image_ready"), st.tuples(st.integers(0, 14), st.integers(0, 2))),
        st.tuples(st.just("plan"), st.none()),
        st.tuples(st.just("plan"), st.none()),
        st.tuples(st.just("answer"), st.none()),
        st.tuples(st.just("answer"), st.none()),
        st.tuples(st.just("fail_row"), st.integers(0, 5)),
        st.tuples(st.just("fail_step"), st.none()),
        st.tuples(st.just("clear_cache"), st.none()),
        st.tuples(st.just("wait"), st.integers(0, 1000)),
    ),
    max_size=60,
)


class Run:
    """One run of a list of calls."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.driver = Driver(config)
        self.now = 0
        self.added = 0
        """Requests that were queued."""
        self.aborted = 0
        self.refused = 0
        """Queued, and given up while they waited."""
        self.failed = 0

    def call(self, kind: str, argument: Any) -> None:
        driver, scheduler = self.driver, self.driver.scheduler
        if kind == "add":
            try:
                scheduler.add(Request(**argument), self.now)
            except SchedulerError:
                return
            for request in (argument["id"], *argument["siblings"]):
                self.added += 1
                driver.texts.pop(request, None)
                driver.ended.pop(request, None)
        elif kind == "abort":
            self.aborted += scheduler.abort(argument)
            assert argument not in scheduler
        elif kind == "image_ready":
            request, image = argument
            with suppress(NoSuchImage):
                assert scheduler.image_ready(request, image, self.now) == (request in scheduler)
        elif kind == "plan":
            driver.plan(self.now)
        elif kind in ("answer", "fail_row") and driver.unanswered:
            rows = len(driver.unanswered[0].rows)
            failed = argument % rows if kind == "fail_row" and rows else None
            driver.answer(self.now, failed_row=failed)
        elif kind == "fail_step" and driver.unanswered:
            self.failed += len(scheduler.fail_step(driver.unanswered.popleft().step))
        elif kind == "clear_cache":
            scheduler.clear_cache()
        elif kind == "wait":
            self.now += argument * MILLISECOND
        self.refused += len(scheduler.take_refused())

    def check(self) -> None:
        scheduler = self.driver.scheduler
        scheduler.check_invariants()
        stats, config = scheduler.stats(), scheduler.config
        assert stats.free_pages + stats.cached_pages + stats.private_pages == stats.total_pages == config.pages
        assert stats.evictable_pages <= stats.cached_pages
        assert stats.running <= config.slots
        ended = stats.finished_stop + stats.finished_length + stats.finished_failed + stats.aborted + self.refused
        assert ended + stats.running + stats.queued == self.added
        assert stats.aborted == self.aborted


def run(config: SchedulerConfig, made: list[tuple[str, Any]]) -> Run:
    running = Run(config)
    for kind, argument in made:
        running.call(kind, argument)
        running.check()
    running.driver.finish(running.now)
    for request in range(15):
        for image in range(3):
            running.call("image_ready", (request, image))
    running.driver.finish(running.now)
    running.refused += len(running.driver.scheduler.take_refused())
    running.check()
    return running


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs, calls)
def test_any_calls_keep_the_books_right(config: SchedulerConfig, made: list[tuple[str, Any]]) -> None:
    done = run(config, made)
    stats = done.driver.scheduler.stats()
    assert (stats.running, stats.queued, stats.private_pages) == (0, 0, 0)
    assert stats.evictable_pages == stats.cached_pages
    if config.policy.name == "conservative":
        assert stats.preemptions == 0
    for request, text in done.driver.texts.items():
        start = text and next(position for position in range(100) if token(request, position) == text[0])
        expected = [token(request, start + index) for index in range(len(text))]
        assert text == expected, "tokens come once and in order"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs, calls)
def test_the_same_calls_give_the_same_plans(config: SchedulerConfig, made: list[tuple[str, Any]]) -> None:
    first, second = run(config, made), run(config, made)
    assert first.driver.plans == second.driver.plans
    assert first.driver.scheduler.stats() == second.driver.scheduler.stats()


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=3),
    st.builds(Request, st.integers(0, 3), st.lists(st.integers(0, 9), max_size=3), st.integers(0, 3)),
    st.builds(
        StepResult,
        step=st.integers(0, 3),
        rows=st.lists(
            st.builds(
                RowResult,
                row=st.integers(0, 3),
                tokens=st.lists(st.integers(0, 9), max_size=2),
                failed=st.none() | st.text(),
            ),
            max_size=3,
        ),
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "abort", "schedule", "update", "fail_step", "__contains__"]),
            st.lists(anything, max_size=2),
        ),
        max_size=20,
    )
)
def test_wrong_calls_never_crash(made: list[tuple[str, list[Any]]]) -> None:
    driver = Driver(SchedulerConfig(pages=8, page_size=2, slots=2, context=16))
    for name, arguments in made:
        try:
            getattr(driver.scheduler, name)(*arguments)
        except (SchedulerError, TypeError) as error:
            assert str(error)  # noqa: PT017
        driver.scheduler.check_invariants()
