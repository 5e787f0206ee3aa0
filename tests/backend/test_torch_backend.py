"""The torch backend driven by hand-made plans on a CPU: the same tokens as a whole forward pass of the same model."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.plan_driver import Driver, with_settings
from helpers.tiny_backend import CAPACITY, OPTIONS
from helpers.whole_pass import WholePass, prompt_of
from lightllm_rs.backend.graphs import batch_sizes
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.messages.frames import pack_u32


def test_capacity(folder: Path) -> None:
    backend = TorchBackend()
    phases = []
    capacity = backend.init_model(BackendOptions(str(folder), **OPTIONS), lambda *phase: phases.append(phase))
    assert capacity == backend.capacity == CAPACITY
    assert [name for name, _, _ in phases] == ["device", "weights", "kv cache"]


def test_sizes_of_captured_batches() -> None:
    assert batch_sizes(1) == [1]
    assert batch_sizes(20) == [1, 2, 4, 8, 16, 20]
    assert batch_sizes(300)[-3:] == [256, 288, 300]


def test_one_request(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 11)
    driver.attach(3, ids)
    assert driver.generate(3, 12) == whole.greedy(ids, 12)


def test_chunks_mixed_steps_and_slot_reuse(driver: Driver, whole: WholePass) -> None:
    first, second, third = prompt_of(1, 9), prompt_of(2, 14), prompt_of(3, 6)
    driver.attach(0, first)
    driver.prefill(0)
    driver.step()
    driver.attach(1, second)
    for size in (5, 1, 8):
        driver.prefill(1, size)
        driver.decode(0)
        driver.step()
    assert driver.slots[0].ids == first + whole.greedy(first, 4)
    assert driver.slots[1].ids == second + whole.greedy(second, 1)
    driver.detach(0, free=True)
    driver.attach(0, third)
    driver.prefill(0)
    driver.decode(1)
    driver.step()
    driver.decode(1)
    driver.decode(0)
    driver.step()
    assert driver.slots[0].ids == third + whole.greedy(third, 2)
    assert driver.slots[1].ids == second + whole.greedy(second, 3)


def test_prefix_pages_are_reused_and_copied(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 12)
    driver.attach(0, ids)
    driver.generate(0, 3)
    other = ids[:8] + prompt_of(5, 5)
    driver.attach(1, other, prefix_pages=driver.slots[0].pages[:2])
    assert driver.generate(1, 5) == whole.greedy(other, 5)
    last = driver.free_pages.pop()
    driver.copy_page(driver.slots[0].pages[2], last)
    third = ids + prompt_of(6, 1)
    driver.attach(2, third, prefix_pages=[*driver.slots[0].pages[:2], last])
    assert driver.generate(2, 5) == whole.greedy(third, 5)


def test_a_preempted_request_goes_on_where_it_was(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 7)
    driver.attach(0, ids)
    known = ids + driver.generate(0, 5)
    driver.detach(0, free=True)
    driver.attach(4, known, prompt_len=len(ids))
    assert driver.generate(4, 4) == whole.greedy(ids, 9)[5:]


def test_the_next_plan_needs_no_result(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 5)
    driver.attach(0, ids)
    driver.prefill(0)
    launched = [driver.launch()]
    for _ in range(3):
        driver.decode(0)
        launched.append(driver.launch())
    assert [driver.finish(step).tokens[0] for step in launched] == whole.greedy(ids, 4)


def test_log_probabilities(driver: Driver, whole: WholePass) -> None:
    ids = prompt_of(1, 13)
    driver.attach(0, ids, with_settings(logprobs=5, prompt_logprobs=2))
    driver.attach(1, prompt_of(2, 5))
    driver.prefill(1)
    driver.prefill(0, 6)
    first = driver.step().extras
    assert set(first) == {0}
    assert (first[0].prompt_start, len(first[0].prompt_logprobs), first[0].logprobs) == (1, 6, None)
    driver.decode(1)
    driver.prefill(0)
    second = driver.step().extras[0]
    assert (second.prompt_start, len(second.prompt_logprobs)) == (7, 6)
    driver.decode(1)
    driver.decode(0)
    third = driver.step().extras[0]
    assert third.prompt_logprobs is None
    entries = first[0].prompt_logprobs + second.prompt_logprobs
    whole.check_logprobs(driver.slots[0].ids, 1, entries, 2)
    whole.check_logprobs(driver.slots[0].ids, 13, [*second.logprobs, *third.logprobs], 5)


def test_prompt_scores_are_made_in_parts(driver: Driver, whole: WholePass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightllm_rs.backend.sampling.logprobs.CHUNK_ROWS", 3)
    ids = prompt_of(1, 11)
    driver.attach(0, ids, with_settings(prompt_logprobs=1))
    driver.prefill(0)
    extra = driver.step().extras[0]
    assert extra.logprobs is None
    whole.check_logprobs(ids, 1, extra.prompt_logprobs, 1)


def test_a_step_without_rows(driver: Driver) -> None:
    driver.attach(0, prompt_of(1, 5))
    driver.prefill(0)
    driver.step()
    driver.detach(0)
    assert driver.step().tokens == {}


def test_seeded_requests_do_not_depend_on_the_batch(driver: Driver) -> None:
    settings = {
        0: with_settings(temperature=1.0, seed=11),
        1: with_settings(temperature=0.9, seed=12, top_p=0.9),
        2: with_settings(temperature=1.1, seed=13, top_k=20, frequency=0.4, presence=-0.2),
        3: with_settings(temperature=0.0, repetition=1.2),
    }
    prompts = {slot: prompt_of(slot, 5 + 3 * slot) for slot in settings}
    alone = {}
    for slot, sampling in settings.items():
        driver.attach(slot, prompts[slot], sampling)
        alone[slot] = driver.generate(slot, 8)
        driver.detach(slot, free=True)
    for slot in (2, 0, 3, 1):  # joining one after the other
        driver.attach(slot, prompts[slot], settings[slot])
        driver.prefill(slot)
        for other in driver.slots:
            if other != slot and len(driver.slots[other].ids) < len(prompts[other]) + 8:
                driver.decode(other)
        driver.step()
    for _ in range(7):
        for slot, held in driver.slots.items():
            if len(held.ids) < len(prompts[slot]) + 8:
                driver.decode(slot)
        driver.step()
    assert {slot: driver.slots[slot].ids[len(prompts[slot]) :] for slot in settings} == alone
    assert alone[0] != alone[1]


def test_a_preempted_request_draws_and_penalises_as_before(driver: Driver) -> None:
    ids = prompt_of(1, 7)
    sampling = with_settings(
        temperature=1.0, seed=3, frequency=1.0, repetition=1.1, min_tokens=6, end_ids=pack_u32([5])
    )
    driver.attach(0, ids, sampling)
    whole = driver.generate(0, 9)
    driver.detach(0)
    driver.attach(5, ids + whole[:5], sampling, prompt_len=len(ids))
    assert driver.generate(5, 4) == whole[5:]
