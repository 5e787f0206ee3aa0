"""FP8 weights and KV cache on a GPU, against the same arithmetic on the CPU: run with `pytest -m gpu`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

from helpers.model_runner import ModelRunner, Sequence
from helpers.tiny_models import make_tiny_model
from lightllm_rs.checkpoint import UnsupportedModel, locate
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.models import load_model

pytestmark = pytest.mark.gpu

SHAPE = {"head_dim": 64, "hidden_size": 256, "intermediate_size": 384}


def logits(folder: Path, device: str, kv: torch.dtype) -> torch.Tensor:
    """Prefill, a mixed step, a decode step of two rows."""
    model = load_model(
        locate(str(folder)), dtype=torch.bfloat16, device=torch.device(device), quantize=True, context=512
    )
    runner = ModelRunner(model, page_size=16, dtype=kv, device=device)
    first, second = Sequence(list(range(3, 240))), Sequence(list(range(50, 170)))
    steps = [runner.step([], [(first, 230)], every=True), runner.step([first], [(second, 114)], every=True)]
    return torch.cat([*steps, runner.step([first, second])])


@pytest.mark.parametrize("kv", [torch.bfloat16, FP8], ids=str)
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_the_gpu_rounds_as_the_cpu_does(tmp_path: Path, kind: str, kv: torch.dtype) -> None:
    folder = make_tiny_model(tmp_path / "model", kind, **SHAPE)
    found, expected = logits(folder, "cuda", kv), logits(folder, "cpu", kv)
    assert torch.isfinite(found).all()
    error = ((found - expected).norm() / expected.norm()).item()
    assert error < 0.08, "half a step of bf16 moves some numbers over a border of e4m3, but not many"


def test_shapes_that_the_tensor_cores_do_not_take(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", intermediate_size=104)
    with pytest.raises(UnsupportedModel, match="must be multiples of 16"):
        load_model(locate(str(folder)), dtype=torch.bfloat16, device=torch.device("cuda"), quantize=True)
    with pytest.raises(UnsupportedModel, match="need --dtype bfloat16"):
        load_model(locate(str(folder)), dtype=torch.float32, device=torch.device("cuda"), quantize=True)
