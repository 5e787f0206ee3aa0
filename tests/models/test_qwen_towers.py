"""Towers against transformers on tiny random checkpoints, float32 on the CPU: max|a-b| / max|b| under 1e-4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from helpers.seeing_reference import Reference, picture
from helpers.tiny_seeing import KINDS, make_seeing_model
from lightllm_rs.checkpoint import CheckpointError, locate
from lightllm_rs.models.vision import VisionTower, load_tower
from lightllm_rs.models.vision.qwen import QwenTower
from lightllm_rs.vision import PictureError, open_geometry

SIZES = [(84, 56), (28, 28), (200, 90), (90, 200), (1, 1), (197, 203), (300, 2)]
TOLERANCE = 1e-4


@pytest.fixture(params=KINDS, name="kind")
def make_kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def tower_of(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> VisionTower:
    checkpoint = locate(str(folder), **options)
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    return load_tower(checkpoint, geometry, dtype=dtype, device=torch.device("cpu"))


@torch.inference_mode()
def features(tower: VisionTower, sizes: list[tuple[int, int]]) -> list[Tensor]:
    return tower.encode([tower.pixels(picture(*size, seed=seed)) for seed, size in enumerate(sizes)])


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    error = (actual.float() - expected).abs().max() / expected.abs().max()
    assert error.item() < tolerance


def test_features(tmp_path: Path, kind: str) -> None:
    """Many pictures in one batch, of many sizes, and each alone."""
    folder = make_seeing_model(tmp_path, kind)
    tower, reference = tower_of(folder), Reference.of(folder, kind)
    pictures = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]
    wanted = reference.features(pictures)
    together = features(tower, SIZES)
    assert len(together) == len(wanted)
    for index, (mine, theirs) in enumerate(zip(together, wanted, strict=True)):
        assert mine.shape == (tower.geometry.shape(*SIZES[index]).tokens, tower.width)
        assert_close(mine, theirs)
        with torch.inference_mode():
            (alone,) = tower.encode([tower.pixels(pictures[index])])
        assert_close(alone, theirs)


def test_names_of_older_checkpoints(tmp_path: Path, kind: str) -> None:
    new = features(tower_of(make_seeing_model(tmp_path / "new", kind)), SIZES[:2])
    old = features(tower_of(make_seeing_model(tmp_path / "old", kind, old_names=True)), SIZES[:2])
    assert all(torch.equal(a, b) for a, b in zip(new, old, strict=True))


def test_wide_windows_and_grids(tmp_path: Path) -> None:
    """Windows that are larger than a picture, that just fit, and layers that are all of one kind."""
    for name, vision in {
        "huge": {"window_size": 560},
        "no whole layer": {"fullatt_block_indexes": []},
        "all whole": {"fullatt_block_indexes": [0, 1, 2, 3]},
        "one token": {"window_size": 28},
        "odd": {"window_size": 84},
    }.items():
        folder = make_seeing_model(tmp_path / name, "qwen2_5_vl", vision_config=vision)
        sizes = [(196, 56), (84, 84), (28, 168)]
        wanted = Reference.of(folder, "qwen2_5_vl").features([picture(*size, seed=i) for i, size in enumerate(sizes)])
        for mine, theirs in zip(features(tower_of(folder), sizes), wanted, strict=True):
            assert_close(mine, theirs)


def test_half_precision(tmp_path: Path, kind: str) -> None:
    """bf16 keeps to float32 as closely as the rounding of every weight allows."""
    folder = make_seeing_model(tmp_path, kind)
    wanted = features(tower_of(folder), SIZES[:3])
    found = features(tower_of(folder, torch.bfloat16), SIZES[:3])
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.dtype == torch.bfloat16
        assert_close(mine, theirs, 0.05)


def test_pictures_that_are_refused(tmp_path: Path) -> None:
    tower = tower_of(make_seeing_model(tmp_path, "qwen2_vl"))
    with pytest.raises(PictureError, match="at most 200 times"):
        tower.pixels(picture(300, 1))


def test_a_tensor_too_few(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_seeing_model(tmp_path, "qwen3_vl")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.visual.pos_embed.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 tensors are missing.*visual\.pos_embed"):
        tower_of(folder)


def test_dummy_weights_need_the_config_alone(tmp_path: Path, kind: str) -> None:
    folder = make_seeing_model(tmp_path, kind)
    (folder / "model.safetensors").unlink()
    for found in features(tower_of(folder, load_format="dummy"), SIZES[:2]):
        assert torch.isfinite(found).all()


def test_patches_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    """The bytes are resized as its image processor does it; float32 operations may round in another order."""
    folder = make_seeing_model(tmp_path, kind)
    tower, processor = tower_of(folder), Reference.of(folder, kind).processor
    assert isinstance(tower, QwenTower)
    for seed, size in enumerate(SIZES):
        one = picture(*size, seed=seed)
        wanted = processor(images=[one], return_tensors="pt")["pixel_values"]
        wanted = wanted.view(wanted.shape[0], 3, 2, -1)[:, :, 0]
        found = tower.normalise(tower.pixels(one).values)
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_rescale": False, "do_normalize": False},
        {"do_rescale": None},
        {"do_normalize": None},
        {"do_rescale": None, "do_normalize": None, "do_convert_rgb": None},
        {"resample": 2},
        {"image_mean": [0.1, 0.2, 0.3]},
    ],
)
def test_settings_of_the_folder(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = make_seeing_model(tmp_path, "qwen2_vl")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    tower, processor = tower_of(folder), Qwen2VLImageProcessorPil.from_pretrained(folder)
    assert isinstance(tower, QwenTower)
    one = picture(197, 203)
    wanted = processor(images=[one], return_tensors="pt")["pixel_values"]
    wanted = wanted.view(wanted.shape[0], 3, 2, -1)[:, :, 0]
    found = tower.normalise(tower.pixels(one).values)
    torch.testing.assert_close(found, wanted.float(), rtol=1e-6, atol=2e-6)


def test_an_image_processor_that_makes_other_numbers_is_an_error(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut down to bytes, they would be black pictures."""
    tower = tower_of(make_seeing_model(tmp_path, kind))
    tower.pixels(picture(56, 56))
    made = Qwen2VLImageProcessorPil.__call__

    def rescaled(self: Any, *arguments: Any, **options: Any) -> Any:
        return {name: values / np.float32(255) for name, values in made(self, *arguments, **options).items()}

    monkeypatch.setattr(Qwen2VLImageProcessorPil, "__call__", rescaled)
    with pytest.raises(AssertionError, match="pixels of float32 are no bytes"):
        tower.pixels(picture(56, 56))


def test_blank_pictures_have_the_form_of_real_ones(tmp_path: Path, kind: str) -> None:
    tower = tower_of(make_seeing_model(tmp_path, kind))
    real = tower.pixels(picture(200, 90))
    blank = tower.blank(real.shape)
    assert (blank.values.shape, blank.values.dtype) == (real.values.shape, real.values.dtype)
