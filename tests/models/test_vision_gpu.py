"""Qwen's towers and image prompts on a GPU: run with `pytest -m gpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

from helpers.seeing_backend import SeeingBackend
from helpers.seeing_reference import Reference, picture
from helpers.tiny_seeing import IMAGE_TOKEN, KINDS, make_seeing_model
from lightllm_rs.checkpoint import locate
from lightllm_rs.layers.segment_attention import Segments, fits_varlen, segment_attention
from lightllm_rs.models.vision import load_tower
from lightllm_rs.vision import open_geometry

pytestmark = pytest.mark.gpu

# Heads of the sizes that real towers have: 80, 80 and 72.
WIDTHS: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"embed_dim": 320, "num_heads": 4},
    "qwen2_5_vl": {"hidden_size": 320, "num_heads": 4, "intermediate_size": 420},
    "qwen3_vl": {"hidden_size": 288, "num_heads": 4, "intermediate_size": 264},
}
SIZES = [(84, 56), (28, 28), (200, 90), (90, 200), (197, 203)]
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.06}


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    assert actual.shape == expected.shape
    assert torch.isfinite(actual).all()
    error = (actual.float().cpu() - expected).abs().max() / expected.abs().max()
    assert error.item() < tolerance


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_features(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    folder = make_seeing_model(tmp_path, kind, vision_config=WIDTHS[kind])
    pictures = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]
    wanted = Reference.of(folder, kind).features(pictures)
    checkpoint = locate(str(folder))
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    tower = load_tower(checkpoint, geometry, dtype=dtype, device=torch.device("cuda"))
    with torch.inference_mode():
        found = tower.encode([tower.pixels(one) for one in pictures])
    for mine, theirs in zip(found, wanted, strict=True):
        assert_close(mine, theirs, TOLERANCE[dtype])


@pytest.mark.parametrize("capture", [False, True], ids=["eager", "graphs"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits(tmp_path: Path, kind: str, capture: bool) -> None:
    """Pictures, then text in decode steps and beside a prefix that covers the pictures; in graphs and without."""
    folder = make_seeing_model(tmp_path, kind, vision_config=WIDTHS[kind])
    reference = Reference.of(folder, kind)
    pictures = [picture(84, 112, 1), picture(200, 60, 2)]
    seeing = SeeingBackend(folder, "cuda", "float32", capture=capture)
    ids = [5, 6, IMAGE_TOKEN, 8, 9, IMAGE_TOKEN, 10, 11, 12, 13]
    prompt = seeing.prompt(ids, pictures)
    seeing.attach(0, prompt)
    output = seeing.driver.generate(0, 5)
    wanted = reference.logits([*prompt.plain, *output[:-1]], pictures)[len(prompt.plain) - 1 :]
    assert_close(seeing.logits(), wanted, 1e-4)
    other = seeing.prompt([*ids[:-1], 20, 21], pictures)
    page = seeing.driver.page_size
    pages = (len(other.ids) - 2) // page  # whole ones of what both have in common
    assert pages * page >= other.spans[-1].start + other.spans[-1].tokens, "enough text in common after the pictures"
    seeing.attach(1, other, prefix_pages=seeing.driver.slots[0].pages[:pages])
    seeing.driver.prefill(1)
    seeing.driver.decode(0)
    seeing.driver.step()
    first, second = seeing.logits()
    wanted = reference.logits([*prompt.plain, *output], pictures)[-1]
    assert_close(first, wanted, 1e-4)
    assert_close(second, reference.logits(other.plain, pictures)[-1], 1e-4)
    assert len(seeing.features.asked) == 1, "the prefix covers the pictures"


@pytest.mark.parametrize("head_dim", [72, 80])
@pytest.mark.parametrize("lengths", [(1,), (4, 4, 4), (64, 64, 16, 8, 300), (5476, 1, 64)])
def test_segments(head_dim: int, lengths: tuple[int, ...]) -> None:
    """Variable lengths in one call against each segment alone in float32."""
    generator = torch.Generator("cuda").manual_seed(0)
    shape = (sum(lengths), 4, head_dim)
    q, k, v = (torch.randn(shape, generator=generator, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    assert fits_varlen(q), "torch has flash attention over variable lengths on this device"
    segments = Segments.of(lengths, q.device)
    found = segment_attention(q, k, v, segments)
    wanted = segment_attention(q.float(), k.float(), v.float(), segments)
    assert_close(found, wanted.cpu(), 0.02)
