"""A server that has started does not run out of memory: what the start measured is enough for the largest steps."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from helpers.tiny_models import make_tiny_model
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.backend.worst_step import WorstSteps
from lightllm_rs.layers.kv_cache import KvCache

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

STEP_TOKENS = 2048


def test_the_largest_steps_again_and_again(tmp_path: Path) -> None:
    """With not a byte more than the sum that the start printed, and log-probabilities of every row in each step."""
    folder = make_tiny_model(tmp_path / "model", vocab_size=32000, hidden_size=512, intermediate_size=1536)
    (folder / "model.safetensors").unlink()  # the vocabulary is larger than the tokenizer's: random weights will do
    options = BackendOptions(
        str(folder), load_format="dummy", device="cuda", slots=64, step_tokens=STEP_TOKENS, kv_cache_tokens=65536
    )
    gc.collect()
    torch.cuda.empty_cache()
    others = torch.cuda.memory_reserved()  # what other tests of this process still hold
    backend = TorchBackend()
    backend.init_model(options, lambda *_: None)
    layers, heads, head_dim = backend.model.kv_shape()
    page = KvCache.page_bytes(layers, backend.capacity.page_size, heads, head_dim, backend.kv_dtype)
    room = backend.room
    promised = others + room.weights + room.working + room.graphs + (backend.capacity.pages + 1) * page
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= promised
    torch.cuda.set_per_process_memory_fraction(promised / room.total)
    try:
        worst = WorstSteps.of(backend.capacity, STEP_TOKENS)
        for step in range(0, 12, 2):
            launched = [backend.launch(plan) for plan in worst.plans(step, held=step > 0)]
            for work in launched:
                outcome = work.outcome()
                assert all(extra.error is None for extra in outcome.extras)
                assert len(outcome.extras) >= backend.capacity.slots - 1
        assert torch.cuda.memory_reserved() <= promised
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
