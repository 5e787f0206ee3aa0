"""Plans that do not hold together, or do not follow from the plans before, stop the backend loudly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from helpers.plan_driver import Driver, broken
from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.mock import MockBackend
from lightllm_rs.backend.options import Capacity
from lightllm_rs.backend.plan import read_plan
from lightllm_rs.messages.frames import pack_u32, unpack_u32
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import EMITS, FROM_LAST, Attach, StepPlan

CAPACITY = Capacity(pages=16, page_size=4, slots=4, vocab=100, context=32)


def driver() -> Driver:
    backend = MockBackend()
    backend.open(CAPACITY)
    return Driver(backend)


def good_plan() -> StepPlan:
    made = driver()
    made.attach(0, [1, 2, 3, 4, 5])
    made.attach(1, [7, 8])
    made.prefill(0)
    made.prefill(1)
    return made.message()[0]


def row_change(row: int, column: int, value: int) -> Callable[[StepPlan], StepPlan]:
    def change(plan: StepPlan) -> StepPlan:
        words = unpack_u32(plan.rows).reshape(-1, 5).copy()
        words[row, column] = value
        return broken(plan, rows=pack_u32(words))

    return change


READ_CHANGES = {
    "rows cut off": lambda plan: broken(plan, rows=plan.rows[:-4]),
    "half a word": lambda plan: broken(plan, token_ids=plan.token_ids[:-1]),
    "slot out of range": row_change(0, 0, 4),
    "one slot twice": row_change(0, 0, 1),
    "no tokens": row_change(0, 2, 0),
    "more tokens than ids": row_change(0, 2, 6),
    "pages missing": row_change(0, 3, 3),
    "past the context": row_change(0, 1, 30),
    "decode of several": row_change(0, 4, FROM_LAST | EMITS),
    "page out of range": lambda plan: broken(plan, new_pages=pack_u32([16, 1, 2])),
    "copy out of range": lambda plan: broken(plan, copies=pack_u32([1, 16])),
    "token out of range": lambda plan: broken(plan, token_ids=pack_u32([1, 2, 3, 4, 5, 6, 100])),
    "detach out of range": lambda plan: broken(plan, detach=pack_u32([9])),
}


@pytest.mark.parametrize("name", READ_CHANGES)
def test_a_plan_that_does_not_hold_together(name: str) -> None:
    read_plan(good_plan(), CAPACITY)
    with pytest.raises(PlanError, match="step 0"):
        read_plan(READ_CHANGES[name](good_plan()), CAPACITY)


LAUNCH_CHANGES = {
    "detach of a free slot": lambda plan: broken(plan, detach=pack_u32([2])),
    "attach to a taken slot": lambda plan: broken(plan, attach=[*plan.attach, Attach(0, 1, Sampling())]),
    "attach out of range": lambda plan: broken(plan, attach=[*plan.attach, Attach(4, 1, Sampling())]),
    "row of a free slot": lambda plan: broken(plan, attach=plan.attach[:1]),
    "too few pages": row_change(0, 1, 4),
}


@pytest.mark.parametrize("name", LAUNCH_CHANGES)
def test_a_plan_that_does_not_follow(name: str) -> None:
    made = driver()
    made.backend.launch(read_plan(good_plan(), CAPACITY))
    made = driver()
    with pytest.raises(PlanError):
        made.backend.launch(read_plan(LAUNCH_CHANGES[name](good_plan()), CAPACITY))


def test_a_row_that_does_not_start_where_its_slot_stands() -> None:
    made = driver()
    made.attach(0, [1, 2, 3, 4, 5])
    made.prefill(0, 2)
    made.step()
    made.slots[0].done += 1
    made.prefill(0)
    with pytest.raises(PlanError, match="does not start"):
        made.step()


def test_a_decode_row_without_a_token() -> None:
    made = driver()
    made.attach(0, [1, 2, 3, 4, 5])
    made.prefill(0, 2)
    made.step()
    made.decode(0)
    with pytest.raises(PlanError, match="sampled no token"):
        made.step()


def test_groups() -> None:
    """They say which rows share pages; they must be in order, decode, share their pages and hold them whole."""
    made = driver()
    pages = made.free_pages[:2]
    made.free_pages = made.free_pages[2:]
    made.attach(0, [1, 2, 3])
    made.prefill(0)
    for slot in (1, 2):
        made.attach(slot, list(range(1, 10)), prefix_pages=pages)
        made.prefill(slot)
    made.step()
    for slot in (0, 1, 2):
        made.decode(slot)
    plan, _ = made.message()
    good = broken(plan, groups=pack_u32([1, 2, 2]))
    assert read_plan(good, CAPACITY).groups.tolist() == [[1, 2, 2]]
    for words, complaint in {
        (1, 2): "cut off",
        (1, 0, 2): "out of order or range",
        (2, 2, 1): "out of order or range",
        (1, 1, 1, 1, 1, 1): "out of order or range",
        (1, 2, 3): "more than a row holds",
        (0, 3, 1): "more than a row holds",
    }.items():
        with pytest.raises(PlanError, match=complaint):
            read_plan(broken(plan, groups=pack_u32(list(words))), CAPACITY)
    made.backend.launch(read_plan(good, CAPACITY)).outcome()


def test_rows_of_a_group_share_its_pages() -> None:
    made = driver()
    for slot in (0, 1):
        made.attach(slot, [1, 2, 3, 4, 5])
        made.prefill(slot)
    made.step()
    for slot in (0, 1):
        made.decode(slot)
    plan, _ = made.message()
    with pytest.raises(PlanError, match="do not share"):
        made.backend.launch(read_plan(broken(plan, groups=pack_u32([0, 2, 1])), CAPACITY))


def test_a_prefill_row_in_a_group() -> None:
    plan = good_plan()
    with pytest.raises(PlanError, match="does not decode"):
        read_plan(broken(plan, groups=pack_u32([0, 2, 0])), CAPACITY)
