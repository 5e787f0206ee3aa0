"""The mock backend: tokens are a pure function of the prefix, through pages, slots, chunks and mixed steps."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from helpers.plan_driver import GREEDY, Driver, with_settings
from lightllm_rs.backend.mock import MockBackend
from lightllm_rs.backend.mock_tokens import EMPTY, Powers, mock_text, next_hashes, row_hashes, token_range
from lightllm_rs.backend.options import Capacity
from lightllm_rs.messages.frames import unpack_f32, unpack_u32

VOCAB = 384


def mock_driver(pages: int = 64, page_size: int = 4, slots: int = 8, context: int = 128) -> Driver:
    backend = MockBackend()
    backend.open(Capacity(pages, page_size, slots, VOCAB, context))
    return Driver(backend)


def prompt(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCAB, length).tolist()


def test_tokens_are_ordinary_text() -> None:
    for vocab in (4, 384, 49_152, 128_256):
        low, end = token_range(vocab)
        text = mock_text([1, 2, 3], 50, vocab)
        assert all(low <= token < end <= vocab for token in text)
    assert len(set(mock_text([1, 2, 3], 50, 49_152))) > 40
    assert mock_text([1, 2, 3], 8, VOCAB) != mock_text([1, 2, 4], 8, VOCAB)


@given(st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=30), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_row_hashes_are_the_rolling_hash(rows: list[list[int]]) -> None:
    previous = np.arange(len(rows), dtype=np.uint64) + EMPTY
    counts = np.array([len(row) for row in rows])
    hashes = row_hashes(previous, np.concatenate([np.array(row) for row in rows]), counts, Powers(32))
    expected = []
    for start, row in zip(previous, rows, strict=True):
        value = np.array([start])
        for token in row:
            value = next_hashes(value, np.array([token]))
            expected.append(value[0])
    assert hashes.tolist() == expected


def test_one_request_gives_the_pure_text() -> None:
    driver = mock_driver()
    ids = prompt(1, 11)
    driver.attach(3, ids)
    assert driver.generate(3, 20) == mock_text(ids, 20, VOCAB)


def test_chunks_mixed_steps_and_slot_reuse() -> None:
    driver = mock_driver()
    first, second, third = prompt(1, 9), prompt(2, 14), prompt(3, 6)
    driver.attach(0, first)
    driver.prefill(0)
    driver.step()
    driver.attach(1, second)
    for size in (5, 1, 8):
        driver.prefill(1, size)
        driver.decode(0)
        driver.step()
    assert driver.slots[0].ids == first + mock_text(first, 4, VOCAB)
    assert driver.slots[1].ids == second + mock_text(second, 1, VOCAB)
    driver.detach(0, free=True)
    driver.attach(0, third)
    driver.prefill(0)
    driver.decode(1)
    driver.step()
    driver.decode(0)
    driver.decode(1)
    driver.step()
    assert driver.slots[0].ids == third + mock_text(third, 2, VOCAB)
    assert driver.slots[1].ids == second + mock_text(second, 3, VOCAB)


def test_prefix_pages_are_reused_and_copied() -> None:
    driver = mock_driver()
    ids = prompt(1, 12)
    driver.attach(0, ids)
    driver.generate(0, 3)
    other = ids[:8] + prompt(5, 5)
    driver.attach(1, other, prefix_pages=driver.slots[0].pages[:2])
    assert driver.generate(1, 5) == mock_text(other, 5, VOCAB)
    last = driver.free_pages.pop()
    driver.copy_page(driver.slots[0].pages[2], last)
    third = ids + prompt(6, 1)
    driver.attach(2, third, prefix_pages=[*driver.slots[0].pages[:2], last])
    assert driver.generate(2, 5) == mock_text(third, 5, VOCAB)


def test_a_preempted_request_goes_on_where_it_was() -> None:
    driver = mock_driver()
    ids = prompt(1, 7)
    driver.attach(0, ids)
    known = ids + driver.generate(0, 5)
    driver.detach(0, free=True)
    driver.attach(4, known, prompt_len=len(ids))
    assert driver.generate(4, 4) == mock_text(ids, 9, VOCAB)[5:]


@pytest.mark.parametrize("what", ["page", "order"])
def test_a_wrong_page_gives_wrong_tokens(what: str) -> None:
    driver = mock_driver()
    ids = prompt(1, 12)
    driver.attach(0, ids)
    driver.generate(0, 1)
    pages = driver.slots[0].pages[:2]
    wrong = [pages[0], driver.free_pages[0]] if what == "page" else pages[::-1]
    other = ids[:8] + prompt(5, 5)
    driver.attach(1, other, prefix_pages=wrong)
    assert driver.generate(1, 3) != mock_text(other, 3, VOCAB)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 9)), min_size=10, max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_order_of_work_gives_the_pure_texts(actions: list[tuple[int, int, int]]) -> None:
    """Requests come, are prefilled in chunks, decode, are put back and end, several a step, in any order."""
    driver = mock_driver(pages=200)
    prompts: dict[int, list[int]] = {}
    touched: set[int] = set()
    running: set[int] = set()  # slots whose next row is a decode row

    def end_step() -> None:
        driver.step()
        touched.clear()
        for slot, held in driver.slots.items():
            output = held.ids[held.prompt_len :]
            assert output == mock_text(prompts[slot], len(output), VOCAB)

    for kind, slot, size in actions:
        if slot in touched or kind == 4:
            end_step()
        held = driver.slots.get(slot)
        if held is not None and kind == 1:
            driver.detach(slot, free=True)
            touched.add(slot)
            continue
        if held is None:
            prompts[slot] = prompt(size, 3 * size)
            driver.attach(slot, prompts[slot])
            running.discard(slot)
        elif kind == 0:  # preempted: its known ids are prefilled again
            driver.detach(slot, free=True)
            driver.attach(slot, held.ids, prompt_len=held.prompt_len)
            running.discard(slot)
        if slot in running:
            driver.decode(slot)
        else:
            driver.prefill(slot, size)
            held = driver.slots[slot]
            if held.done == len(held.ids):
                running.add(slot)
        touched.add(slot)
    end_step()
    lengths = [len(held.ids) - held.prompt_len for held in driver.slots.values()]
    target(float(max(lengths, default=0)))


def test_pipelined_launches() -> None:
    driver = mock_driver()
    ids = prompt(1, 5)
    driver.attach(0, ids)
    driver.prefill(0)
    first = driver.launch()
    driver.decode(0)
    second = driver.launch()
    assert [driver.finish(first).tokens[0], driver.finish(second).tokens[0]] == mock_text(ids, 2, VOCAB)


def test_log_probabilities() -> None:
    driver = mock_driver()
    ids = prompt(1, 9)
    driver.attach(0, ids, with_settings(logprobs=3, prompt_logprobs=0))
    driver.prefill(0, 5)
    extra = driver.step().extras[0]
    assert (extra.prompt_start, len(extra.prompt_logprobs), extra.logprobs) == (1, 5, None)
    driver.prefill(0)
    result = driver.step()
    extra = result.extras[0]
    assert (extra.prompt_start, len(extra.prompt_logprobs)) == (6, 3)
    (entry,) = extra.logprobs
    assert unpack_u32(entry.ids)[0] == result.tokens[0]
    values = unpack_f32(entry.values)
    assert values[0] == np.float32(entry.chosen)
    assert list(values) == sorted(values, reverse=True)
    assert np.exp(values).sum() < 1


def test_steps_take_as_long_as_they_are_told_to() -> None:
    driver = mock_driver()
    driver.backend._step_seconds, driver.backend._token_seconds = 0.5, 0.025
    driver.attach(0, prompt(1, 10), GREEDY)
    driver.prefill(0)
    began = time.perf_counter()
    first = driver.launch()
    driver.decode(0)
    second = driver.launch()
    assert second.work.remaining() > first.work.remaining() > 0  # neither launch has waited for its step
    driver.finish(first)
    assert time.perf_counter() - began >= 0.75
    driver.finish(second)
    assert time.perf_counter() - began >= 0.05
