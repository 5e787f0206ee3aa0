"""The towers of LLaVA and InternVL on a GPU: run with `pytest -m gpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

from PIL import Image

from helpers.tiny_vl import CONFIGS, make_tiny_vl
from lightllm_rs.checkpoint import locate
from lightllm_rs.models.vision import VisionTower, load_tower
from lightllm_rs.vision import open_geometry

pytestmark = pytest.mark.gpu

SIZES = ((28, 28), (1, 1), (90, 30), (31, 100), (500, 400))
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.06, torch.float16: 0.01}
# Heads of 64 numbers, as real towers have.
WIDE: dict[str, Any] = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}


def tower_of(folder: Path, dtype: torch.dtype, device: str) -> VisionTower:
    checkpoint = locate(str(folder))
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    return load_tower(checkpoint, geometry, dtype=dtype, device=torch.device(device))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", CONFIGS)
def test_features_are_those_of_the_cpu(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    folder = make_tiny_vl(tmp_path, kind, vision_config=WIDE)
    draw = np.random.default_rng(4)
    pictures = [Image.fromarray(draw.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in SIZES]
    plain, fast = tower_of(folder, torch.float32, "cpu"), tower_of(folder, dtype, "cuda")
    inputs = [plain.pixels(picture) for picture in pictures]
    with torch.inference_mode():
        wanted, together = plain.encode(inputs), fast.encode(inputs)
        alone = [fast.encode([one])[0] for one in inputs]
    for features in (together, alone):
        for found, expected in zip(features, wanted, strict=True):
            assert found.is_cuda
            assert found.dtype == dtype
            error = (found.cpu().float() - expected).abs().max() / expected.abs().max()
            assert error.item() < TOLERANCE[dtype]
