"""The torch backend driven by hand-made plans on a CPU: the same tokens as a whole forward pass of the same model."""

from __future__ import annotations

import pytest
import torch

from helpers.plan_driver import Driver, with_settings
from helpers.tiny_models import make_tiny_model
from helpers.whole_pass import WholePass, prompt_of
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.backend.torch_backend import TorchBackend

OPTIONS = {"kv_cache_tokens": 4096, "page_size": 4, "slots": 8, "threads": 2}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> TorchBackend:
    model = make_tiny_model(tmp_path_factory.mktemp("model"))
    backend = TorchBackend()
    backend.init_model(BackendOptions(str(model), **OPTIONS), lambda *_: None)
    return backend


@pytest.fixture
def driver(backend: TorchBackend) -> Driver:
    backend.open(backend.capacity)
    return Driver(backend)


@pytest.fixture(scope="module")
def whole(backend: TorchBackend) -> WholePass:
    return WholePass(backend)


def test_capacity(backend: TorchBackend) -> None:
    room = backend.capacity
    assert (room.pages, room.page_size, room.slots, room.vocab, room.context) == (1024, 4, 8, 384, 512)


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


def test_a_row_that_is_not_finite_fails_alone(backend: TorchBackend, driver: Driver, whole: WholePass) -> None:
    ids, poisoned = prompt_of(1, 8), prompt_of(2, 16)
    driver.attach(0, ids)
    driver.attach(1, poisoned)
    driver.prefill(0)
    driver.prefill(1, 8)
    driver.step()
    backend.kv.v[0, driver.slots[1].pages[0]] = torch.nan
    driver.prefill(1, 4)
    driver.decode(0)
    result = driver.step()
    assert "not finite" in result.extras[1].error
    driver.prefill(1)
    driver.decode(0)
    result = driver.step()
    assert "not finite" in result.extras[1].error
    assert set(result.extras) == {1}
    assert driver.slots[0].ids == ids + whole.greedy(ids, 3)


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
