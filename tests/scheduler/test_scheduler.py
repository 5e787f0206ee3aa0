"""The scheduler from Python: steps, aborts, failures, threads."""

from __future__ import annotations

import threading

import pytest

from helpers.scheduler_driver import Driver, token
from lightllm_rs.scheduling import (
    Admission,
    DeadlineMissed,
    OrderConfig,
    Request,
    RowResult,
    Scheduler,
    SchedulerConfig,
    StepResult,
)

SECOND = 1_000_000_000


def test_a_request_from_its_prompt_to_its_end() -> None:
    driver = Driver(SchedulerConfig(pages=16, page_size=4, slots=2, context=64))
    driver.scheduler.add(Request(7, [1, 2, 3, 4, 5], 3), now=10)
    plan = driver.plan(now=25)
    assert plan is not None
    assert plan.step == 1
    [attach], [row] = plan.attach, plan.rows
    assert (attach.slot, attach.request, attach.prompt_len, attach.history) == (0, 7, 5, None)
    assert (row.start, row.tokens, len(row.new_pages), row.emits, row.from_last) == (0, 5, 2, True, False)
    assert plan.token_ids == (1, 2, 3, 4, 5)
    [output] = driver.answer(now=30)
    assert output.admission == Admission(cached_tokens=0, queue_ns=15)
    assert output.finish is None
    driver.finish(now=40)
    assert driver.texts[7] == [token(7, position) for position in (5, 6, 7)]
    assert driver.ended == {7: "length"}
    stats = driver.scheduler.stats()
    assert (stats.finished_length, stats.generated_tokens, stats.prompt_tokens) == (1, 3, 5)
    assert stats.free_pages + stats.cached_pages == stats.total_pages == 16
    assert driver.scheduler.clear_cache() == stats.cached_pages
    assert driver.scheduler.stats().free_pages == 16


def test_an_end_id_ends_it() -> None:
    driver = Driver(SchedulerConfig(pages=16, page_size=4, slots=2, context=64))
    driver.scheduler.add(Request(1, [1, 2], 50, end_ids=[token(1, 4)]), 0)
    driver.scheduler.add(Request(2, [1, 2], 5, end_ids=[token(2, 3)], min_tokens=3), 0)
    driver.finish(0)
    assert driver.ended == {1: "stop", 2: "length"}
    assert driver.texts[1][-1] == token(1, 4)
    assert len(driver.texts[2]) == 5


def test_a_common_prefix_is_computed_once() -> None:
    driver = Driver(SchedulerConfig(pages=64, page_size=4, slots=2, context=64))
    driver.scheduler.add(Request(1, range(40), 2), 0)
    driver.finish(0)
    driver.scheduler.add(Request(2, range(40), 2), 0)
    driver.scheduler.add(Request(3, range(40), 2, cache_salt=1), 0)
    plan = driver.plan(0)
    assert plan is not None
    starts = {row.request: row.start for row in plan.rows}
    assert starts[2] >= 36
    assert starts[3] == 0, "another salt"
    driver.finish(0)


def test_aborts_and_failures_give_everything_back() -> None:
    driver = Driver(SchedulerConfig(pages=32, page_size=4, slots=2, context=64, prefix_cache=False))
    for request in range(1, 5):
        driver.scheduler.add(Request(request, range(20), 10), 0)
    driver.plan(0)
    assert driver.scheduler.abort(1), "runs"
    assert driver.scheduler.abort(4), "waits"
    assert not driver.scheduler.abort(4)
    driver.answer(0)
    driver.plan(0)
    [failed] = [output for output in driver.answer(0, failed_row=0) if output.finish]
    assert (failed.finish, failed.failure, failed.tokens) == ("failed", "made up", ())
    plan = driver.plan(0)
    assert plan is not None
    driver.unanswered.clear()
    assert driver.scheduler.fail_step(plan.step) == [row.request for row in plan.rows]
    driver.finish(0)
    stats = driver.scheduler.stats()
    assert stats.free_pages == 32
    assert (stats.aborted, stats.finished_failed) == (2, 2)
    driver.scheduler.check_invariants()


def test_membership_and_work() -> None:
    scheduler = Scheduler(SchedulerConfig())
    assert not scheduler.has_work()
    scheduler.add(Request(5, [1], 1), 0)
    assert 5 in scheduler
    assert 6 not in scheduler
    assert scheduler.has_work()
    assert scheduler.unanswered() == 0
    scheduler.schedule(0)
    assert scheduler.unanswered() == 1
    assert repr(scheduler) == "<Scheduler: 1 running, 0 queued, 4095 of 4096 pages free>"


def test_a_deadline_that_cannot_be_met_is_told_once() -> None:
    order = OrderConfig(refuse_late=True)
    driver = Driver(SchedulerConfig(pages=64, page_size=4, slots=1, context=64, order=order))
    driver.scheduler.add(Request(1, [1], 5), 0)
    driver.plan(0)
    driver.scheduler.add(Request(2, [1], 5, deadline=SECOND), 0)
    driver.answer(SECOND)
    driver.plan(2 * SECOND)
    [(request, error)] = driver.scheduler.take_refused()
    assert request == 2
    assert isinstance(error, DeadlineMissed)
    assert 1 <= error.retry_after_s <= 60
    assert driver.scheduler.take_refused() == []
    assert 2 not in driver.scheduler
    with pytest.raises(DeadlineMissed):
        raise error


def test_n_outputs_of_one_prompt() -> None:
    driver = Driver(SchedulerConfig(pages=64, page_size=4, slots=4, context=64))
    driver.scheduler.add(Request(1, range(10), 4, siblings=[2, 3]), 0)
    driver.finish(0)
    assert driver.ended == {1: "length", 2: "length", 3: "length"}
    assert all(driver.texts[request] == [token(request, position) for position in range(10, 14)] for request in (1, 2))
    prefilled = sum(row.tokens for plan in driver.plans for row in plan.rows if not row.from_last)
    assert prefilled < 3 * 10, "the prompt is shared"


def test_threads_take_turns() -> None:
    scheduler = Scheduler(SchedulerConfig(pages=4096, page_size=4, slots=64, context=64, queue_requests=10_000))
    failures: list[BaseException] = []

    def add(first: int) -> None:
        try:
            for request in range(first, first + 200):
                scheduler.add(Request(request, [1, 2, 3], 2), 0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(first * 1000,)) for first in range(4)]
    for thread in threads:
        thread.start()
    steps = 0
    while any(thread.is_alive() for thread in threads) or scheduler.has_work():
        plan = scheduler.schedule(0)
        if plan is not None:
            rows = [RowResult(row=index, tokens=[1]) for index, row in enumerate(plan.rows) if row.emits]
            scheduler.update(StepResult(step=plan.step, rows=rows), 0)
            steps += 1
    assert not failures
    assert scheduler.stats().finished_length == 800
    assert steps >= 2 * 800 / 64
