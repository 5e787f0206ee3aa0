"""The models on a GPU, over the Triton kernels: run with `pytest -m gpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

from helpers.model_runner import ModelRunner, Sequence
from helpers.reference_model import reference_logits
from helpers.tiny_models import LLAMA3_SCALING, make_tiny_model
from lightllm_rs.checkpoint import locate
from lightllm_rs.models import load_model

pytestmark = pytest.mark.gpu

# Heads of the sizes that real models have.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama3": ("llama", {"head_dim": 128, "rope_scaling": LLAMA3_SCALING, "rope_theta": 500000.0}),
    "llama-tied-odd-vocabulary": ("llama", {"head_dim": 64, "tie_word_embeddings": True, "vocab_size": 397}),
    "mistral": ("mistral", {"head_dim": 80, "num_key_value_heads": 1}),
    "qwen2": ("qwen2", {"hidden_size": 256, "num_key_value_heads": 4}),
    "qwen3": ("qwen3", {"head_dim": 128}),
}
# The weights are rounded too: that alone moves the logits of a random model by about half of this.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.06, torch.float16: 0.01}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_every_way_through_a_text(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    kind, overrides = CONFIGS[name]
    folder = make_tiny_model(tmp_path / "model", kind, **overrides)
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randint(3, 380, (size,), generator=generator).tolist() for size in (300, 90))
    wanted = reference_logits(folder, [first, second])
    model = load_model(locate(str(folder)), dtype=dtype, device=torch.device("cuda"))
    runner = ModelRunner(model, pages=64, page_size=16, dtype=dtype, device="cuda")

    def check(actual: torch.Tensor, expected: torch.Tensor) -> None:
        assert actual.shape == expected.shape
        assert torch.isfinite(actual).all()
        error = (actual - expected).abs().max() / expected.abs().max()
        assert error.item() < TOLERANCE[dtype]

    a, b = Sequence(first), Sequence(second)
    check(runner.step([], [(a, 200)], every=True), wanted[0][:200])
    check(runner.step([], [(a, 90), (b, 30)], every=True), torch.cat((wanted[0][200:290], wanted[1][:30])))
    check(runner.step([a], [(b, 50)], every=True), torch.cat((wanted[0][290:291], wanted[1][30:80])))
    check(runner.step([b, a]), torch.stack((wanted[1][80], wanted[0][291])))


def test_dummy_weights_are_made_on_the_device(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    checkpoint = locate(str(folder), load_format="dummy")
    model = load_model(checkpoint, dtype=torch.bfloat16, device=torch.device("cuda"))
    runner = ModelRunner(model, dtype=torch.bfloat16, device="cuda")
    assert torch.isfinite(runner.step([], [(Sequence(list(range(9))), 9)])).all()
