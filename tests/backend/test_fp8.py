"""A backend with 8-bit weights and KV cache: what it allocates, and that plans give what one whole pass gives."""

from __future__ import annotations

import pytest
import torch

from helpers.plan_driver import Driver
from helpers.tiny_models import make_tiny_model
from helpers.whole_pass import WholePass, prompt_of
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.layers.kv_cache import KvCache

OPTIONS = {"kv_cache_tokens": 2048, "page_size": 4, "slots": 8, "threads": 2, "step_tokens": 256}
# Rounding to 8 bits lets sums of another order fall to the other side now and then; then two tokens may change places.
TIE = 0.2


@pytest.fixture(scope="module", params=[("auto", "fp8"), ("fp8", "auto"), ("fp8", "fp8")], ids=str)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TorchBackend:
    folder = make_tiny_model(tmp_path_factory.mktemp("model"))
    quantization, kv_cache_dtype = request.param
    options = BackendOptions(str(folder), **OPTIONS, quantization=quantization, kv_cache_dtype=kv_cache_dtype)
    backend = TorchBackend()
    phases: dict[str, str] = {}
    backend.init_model(options, lambda name, seconds, detail="": phases.update({name: detail}))
    assert ("FP8" in phases["weights"]) is (quantization == "fp8")
    assert (backend.kv.k.dtype == FP8) is (kv_cache_dtype == "fp8")
    return backend


def test_plans_give_what_a_whole_pass_gives(backend: TorchBackend) -> None:
    """Chunks, decode rows beside prompts, copied and shared pages."""
    driver, whole = Driver(backend), WholePass(backend)
    whole.dtype = backend.kv_dtype
    ids = prompt_of(1, 14)
    driver.attach(0, ids)
    for size in (5, 9):
        driver.prefill(0, size)
        driver.step()
    driver.generate(0, 4)
    other = ids[:8] + prompt_of(5, 5)
    driver.attach(1, other, prefix_pages=driver.slots[0].pages[:2])
    driver.prefill(1)
    driver.decode(0)
    driver.step()
    driver.generate(1, 5)
    for slot, prompt in ((0, ids), (1, other)):
        text = driver.slots[slot].ids
        logits = whole.logits(text)[len(prompt) - 1 : -1]
        chosen = logits.gather(-1, torch.tensor(text[len(prompt) :])[:, None]).squeeze(-1)
        assert (logits.max(-1).values - chosen < TIE).all()
        assert len(text) >= len(prompt) + 5


def test_a_page_takes_half_the_bytes() -> None:
    half = KvCache.page_bytes(2, 16, 8, 128, FP8)
    assert half == 2 * 2 * 16 * 8 * 128
    assert KvCache.page_bytes(2, 16, 8, 128, torch.bfloat16) == 2 * half
