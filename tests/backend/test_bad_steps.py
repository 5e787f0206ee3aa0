"""Steps of the torch backend that go wrong: who is told, and that the others are right."""

from __future__ import annotations

import pytest
import torch

from helpers.plan_driver import Driver
from helpers.whole_pass import WholePass, prompt_of
from lightllm_rs.backend.errors import StepError
from lightllm_rs.backend.torch_backend import TorchBackend


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


def test_a_failed_step_leaves_the_state_sound(
    backend: TorchBackend, driver: Driver, whole: WholePass, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, other = prompt_of(1, 8), prompt_of(2, 6)
    driver.attach(0, ids)
    driver.attach(1, other)
    driver.prefill(0)
    driver.prefill(1)
    driver.step()

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(backend.model, "forward", exhausted)
        patch.setattr(backend, "graphs", None)
        driver.decode(0)
        with pytest.raises(StepError, match="ran out of memory"):
            driver.launch()
    driver.decode(0)  # the router had sent this plan already
    driver.decode(1)
    driver.step()
    driver.detach(0, free=True)
    driver.attach(0, ids)
    driver.decode(1)
    assert driver.generate(0, 4) == whole.greedy(ids, 4)
    assert driver.slots[1].ids == other + whole.greedy(other, 3)


class TritonError(Exception):
    """The base of Triton's errors, by its name: Triton is not installed everywhere."""


class CompilationError(TritonError):
    pass


def test_a_kernel_that_does_not_compile_fails_its_step_alone(
    backend: TorchBackend, driver: Driver, whole: WholePass, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = prompt_of(1, 8)
    driver.attach(0, ids)
    driver.attach(1, prompt_of(2, 6))
    driver.prefill(0)

    def uncompiled(*_: object) -> None:
        raise CompilationError("at 3:4:\ncannot add a pointer and a pointer")

    with monkeypatch.context() as patch:
        patch.setattr(backend.model, "forward", uncompiled)
        patch.setattr(backend, "graphs", None)
        with pytest.raises(StepError, match=r"does not compile.*cannot add a pointer"):
            driver.launch()
    driver.detach(0, free=True)
    driver.attach(0, ids)
    assert driver.generate(0, 4) == whole.greedy(ids, 4)


def test_another_error_is_not_hidden(backend: TorchBackend, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(backend.model, "forward", broken)
    monkeypatch.setattr(backend, "graphs", None)  # they have no use for the model's Python
    driver.attach(0, prompt_of(1, 8))
    driver.prefill(0)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        driver.launch()
