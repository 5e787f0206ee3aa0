"""The towers of LLaVA and InternVL against transformers, float32 on the CPU: max|a-b| / max|b| under 1e-4."""

from __future__ import annotations

import random
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from helpers.tiled_reference import TiledReference
from helpers.tiny_models import write_json
from helpers.tiny_vl import CONFIGS, make_tiny_vl, tiny_vl_config
from lightllm_rs.checkpoint import CheckpointError, locate
from lightllm_rs.models.vision import Pixels, VisionTower, load_tower
from lightllm_rs.models.vision.llava import LlavaNext
from lightllm_rs.models.vision.processor import PROCESSORS
from lightllm_rs.vision import open_geometry

PADDED = {"image_processor_type": "LlavaImageProcessor", "do_pad": True}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in CONFIGS},
    "llava-several-layers": ("llava", {"vision_feature_layer": [-3, 1, -1]}),
    "llava-class-token": ("llava", {"vision_feature_select_strategy": "full", "vision_feature_layer": 3}),
    "llava-no-layer": ("llava", {"vision_feature_layer": 0}),
    "llava-siglip-remainder": ("llava-siglip", {"vision_config": {"patch_size": 6}}),
    "llava-siglip-without-first": ("llava-siglip", {"vision_feature_select_strategy": "default"}),
    "llava-plain-projector": ("llava", {"multimodal_projector_bias": False, "projector_hidden_act": "quick_gelu"}),
    "llava-next-several-layers": ("llava-next", {"vision_feature_layer": [-2, -1]}),
    "internvl-norms": (
        "internvl",
        {"vision_config": {"use_qk_norm": True, "norm_type": "rms_norm", "attention_bias": False}},
    ),
    "internvl-last-norm": ("internvl", {"vision_config": {"use_mean_pooling": False}}),
    "internvl-inner-layer": ("internvl", {"vision_feature_layer": -2, "vision_config": {"use_mean_pooling": False}}),
    "llava-padded": ("llava", {"processor": PADDED}),
    "llava-padded-uncropped": ("llava", {"processor": {**PADDED, "do_center_crop": False, "resample": 2}}),
    "llava-older-processor": ("llava", {"processor": {"size": 28, "crop_size": 28, "do_normalize": False}}),
    "llava-nulls": ("llava", {"processor": {"do_normalize": None, "do_resize": None, "do_convert_rgb": None}}),
    "llava-siglip-nulls": ("llava-siglip", {"processor": {"do_rescale": None, "do_center_crop": None}}),
    "internvl-nulls": ("internvl", {"processor": {"do_rescale": None, "do_normalize": None, "do_pad": None}}),
    "llava-next-nulls": ("llava-next", {"processor": {"do_normalize": None, "do_center_crop": None, "do_pad": None}}),
    "llava-next-uncropped": ("llava-next", {"processor": {"do_center_crop": False}}),
    "internvl-one-tile": ("internvl", {"processor": {"max_patches": 1}}),
    "internvl-no-merge": ("internvl", {"downsample_ratio": 1.0}),
}
SIZES = ((28, 28), (1, 1), (90, 30), (31, 100), (500, 400), (3, 3), (28, 56), (1, 3))


@pytest.fixture(scope="module", params=VARIANTS, name="folder")
def make_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind, overrides = VARIANTS[request.param]
    return make_tiny_vl(tmp_path_factory.mktemp("model"), kind, **overrides)


def tower_of(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> VisionTower:
    checkpoint = locate(str(folder), **options)
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    return load_tower(checkpoint, geometry, dtype=dtype, device=torch.device("cpu"))


def pictures() -> list[Image.Image]:
    draw = np.random.default_rng(4)
    return [Image.fromarray(draw.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in SIZES]


def wanted_features(folder: Path, tower: VisionTower) -> list[Tensor]:
    reference = TiledReference(folder, tower)
    return [reference.features(picture) for picture in pictures()]


def assert_close(actual: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    assert actual.shape == wanted.shape
    error = (actual - wanted).abs().max() / wanted.abs().max()
    assert error.item() < tolerance


def test_features(folder: Path) -> None:
    """Alone and together, in any order; as many as the geometry says."""
    tower = tower_of(folder)
    wanted = wanted_features(folder, tower)
    inputs = [tower.pixels(picture) for picture in pictures()]
    with torch.inference_mode():
        for one, features in zip(inputs, wanted, strict=True):
            (found,) = tower.encode([one])
            assert_close(found, features)
            assert found.shape == (one.shape.tokens, tower.width)
        for found, features in zip(tower.encode(inputs[::-1]), wanted[::-1], strict=True):
            assert_close(found, features)


def test_pixels_are_those_of_the_folder(folder: Path) -> None:
    """What transformers makes of preprocessor_config.json, all of whose fields it sees, but for the last rounding."""
    tower = tower_of(folder)
    module, name = PROCESSORS[tower.geometry.settings["image_processor_type"]]
    processor = getattr(import_module(f"transformers.models.{module}"), name).from_pretrained(folder)
    tiled = {"crop_to_patches": True} if "internvl" in tower.config.architecture.lower() else {}
    for picture in pictures():
        found = tower.pixels(picture)
        wanted = processor([picture], return_tensors="pt", **tiled)["pixel_values"]
        wanted = wanted[0] if wanted.ndim == 5 else wanted
        torch.testing.assert_close(tower.normalise(found.values), wanted.float(), rtol=1e-6, atol=2e-6)
        assert found.values.shape[0] * found.values.shape[2] ** 2 == found.shape.pixels
        blank = tower.blank(found.shape).values
        assert (blank.shape, blank.dtype) == (found.values.shape, found.values.dtype)


def test_half_precision(folder: Path) -> None:
    """bf16 keeps near the float32 features, as far as its rounding of every weight allows."""
    whole, half = tower_of(folder), tower_of(folder, torch.bfloat16)
    inputs = [whole.pixels(picture) for picture in pictures()]
    with torch.inference_mode():
        for wanted, found in zip(whole.encode(inputs), half.encode(inputs), strict=True):
            assert found.dtype == torch.bfloat16
            assert_close(found.float(), wanted, 0.06)


def test_dummy_weights_need_no_files(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    tower = tower_of(tmp_path, load_format="dummy")
    with torch.inference_mode():
        (features,) = tower.encode([tower.pixels(pictures()[2])])
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("kind", ["llava", "internvl"])
def test_a_missing_or_foreign_tensor_is_named(tmp_path: Path, kind: str) -> None:
    folder = make_tiny_vl(tmp_path, kind)
    config = tiny_vl_config(kind)
    config["vision_config"] = {**config["vision_config"], "num_hidden_layers": 4}
    write_json(folder / "config.json", {**config, "vision_feature_layer": -1})
    with pytest.raises(CheckpointError, match="missing from the checkpoint: vision_tower"):
        tower_of(folder)


def test_names_of_older_files(tmp_path: Path) -> None:
    """Files of before transformers 5 call the tower's root vision_model, or put all under model."""
    from safetensors.torch import load_file, save_file

    folder = make_tiny_vl(tmp_path, "llava")
    weights = load_file(folder / "model.safetensors")
    wanted = tower_of(folder).encode
    one = tower_of(folder).pixels(pictures()[0])
    with torch.inference_mode():
        (features,) = wanted([one])
        for change in (old_name, new_name):
            save_file({change(name): value for name, value in weights.items()}, folder / "model.safetensors")
            (found,) = tower_of(folder).encode([one])
            assert torch.equal(found, features)


def old_name(name: str) -> str:
    return name.replace("vision_tower.", "vision_tower.vision_model.")


def new_name(name: str) -> str:
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    return "model." + name.replace("language_model.model.", "language_model.")


def test_pixels_are_threads_safe(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    tower = tower_of(make_tiny_vl(tmp_path, "internvl"))
    many = pictures() * 8
    alone = [tower.pixels(picture).values for picture in many]
    with ThreadPoolExecutor(8) as pool:
        found: list[Pixels] = list(pool.map(tower.pixels, many))
    for one, values in zip(found, alone, strict=True):
        assert torch.equal(one.values, values)


def test_tiles_are_put_together_as_transformers_does(tmp_path: Path) -> None:
    """Rows, columns and newlines of a thousand sizes, thin ones among them, from features that are all different."""
    folder = make_tiny_vl(tmp_path, "llava-next")
    tower = tower_of(folder)
    assert isinstance(tower, LlavaNext)
    reference = TiledReference(folder, tower).model.model
    draw = random.Random(8)
    sizes = [(int(2 ** draw.uniform(0, 12)), int(2 ** draw.uniform(0, 12))) for _ in range(1000)]
    features = torch.arange(7 * 16 * 64, dtype=torch.float32).view(7, 16, 64)
    with torch.inference_mode():
        for width, height in (*sizes, (1, 9999), (9999, 1), (28, 28), (56, 56)):
            shape = tower.geometry.shape(width, height)
            squares = features[: shape.pixels // 28**2]
            (wanted,), _ = reference.pack_image_features(
                [squares], torch.tensor([[height, width]]), "default", image_newline=reference.image_newline
            )
            found = tower.packed(squares, Pixels(torch.empty(0), shape))
            assert torch.equal(found, wanted), (width, height)
            assert len(found) == shape.tokens


def test_without_transformers_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiny_vl(tmp_path, "llava")
    monkeypatch.setitem(sys.modules, "transformers.models.clip.image_processing_pil_clip", None)
    with pytest.raises(CheckpointError, match=r"pip install 'lightllm-rs\[images\]'"):
        tower_of(folder).processor.load()
