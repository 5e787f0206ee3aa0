"""Sizes of pictures against transformers' image processors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from helpers.tiny_models import make_tiny_model, write_json
from helpers.tiny_seeing import KINDS, processor_config, write_configs
from lightllm_rs.checkpoint import CheckpointError, locate
from lightllm_rs.vision import Geometry, PictureError, open_geometry

SIDES = (1, 2, 13, 14, 27, 28, 29, 41, 42, 43, 56, 97, 111, 112, 113, 199, 200, 201, 640, 1023, 1024, 1367, 4096, 10000)


def geometry_of(folder: Path, kind: str, **settings: Any) -> Geometry:
    write_configs(folder, kind)
    write_json(folder / "preprocessor_config.json", {**processor_config(kind), **settings})
    geometry = open_geometry(locate(str(folder)))
    assert geometry is not None
    return geometry


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixels", [(784, 40000), (3136, 12845056), (65536, 16777216)])
def test_every_size(tmp_path: Path, kind: str, pixels: tuple[int, int]) -> None:
    geometry = geometry_of(tmp_path, kind, min_pixels=pixels[0], max_pixels=pixels[1])
    patch = KINDS[kind]["vision_config"].get("patch_size", 14)
    size = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}
    theirs = Qwen2VLImageProcessorPil(size=size, patch_size=patch)
    checked = 0
    for width, height in itertools.product(SIDES, SIDES):
        try:
            patches = theirs.get_number_of_image_patches(height, width)
        except ValueError:
            with pytest.raises(PictureError, match=f"{width}x{height}.*at most 200 times"):
                geometry.shape(width, height)
            continue
        shape = geometry.shape(width, height)
        _, rows, columns = shape.grid
        assert (shape.tokens, shape.pixels) == (patches // 4, patches * patch * patch), (width, height)
        assert rows * columns == shape.tokens
        checked += 1
    assert checked > 300


def test_grids_are_those_of_the_processor(tmp_path: Path) -> None:
    """Rows and columns, not only their product."""
    from PIL import Image

    geometry = geometry_of(tmp_path, "qwen2_5_vl")
    theirs = Qwen2VLImageProcessorPil(size={"shortest_edge": 784, "longest_edge": 40000})
    for width, height in ((300, 70), (70, 300), (28, 28), (5, 900), (1, 1)):
        grid = theirs(images=[Image.new("RGB", (width, height))], return_tensors="np")["image_grid_thw"][0]
        assert geometry.shape(width, height).grid == (1, grid[1] // 2, grid[2] // 2)


def test_settings_from_either_file(tmp_path: Path) -> None:
    first = geometry_of(tmp_path / "a", "qwen2_vl", image_mean=[0.5, 0.5, 0.5])
    folder = write_configs(tmp_path / "b", "qwen2_vl")
    settings = {**processor_config("qwen2_vl"), "image_mean": [0.5, 0.5, 0.5]}
    (folder / "preprocessor_config.json").unlink()
    write_json(folder / "processor_config.json", {"image_processor": settings})
    second = open_geometry(locate(str(folder)))
    assert second is not None
    assert first.settings == second.settings
    assert first.settings["size"] == {"shortest_edge": 784, "longest_edge": 40000}
    (folder / "processor_config.json").unlink()
    third = open_geometry(locate(str(folder)))
    assert third is not None
    assert third.settings["size"] == {"shortest_edge": 3136, "longest_edge": 1003520}


def test_new_and_old_names_of_the_size_agree(tmp_path: Path) -> None:
    write_configs(tmp_path, "qwen3_vl")
    new = {**processor_config("qwen3_vl"), "size": {"shortest_edge": 784, "longest_edge": 40000}}
    del new["min_pixels"], new["max_pixels"]
    write_json(tmp_path / "preprocessor_config.json", new)
    geometry = open_geometry(locate(str(tmp_path)))
    assert geometry is not None
    assert geometry.settings == geometry_of(tmp_path / "old", "qwen3_vl").settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patch_size": 16}, "patch_size is 16, but config.json's is 14"),
        ({"merge_size": 1}, "merge_size is 1"),
        ({"temporal_patch_size": 1}, "temporal_patch_size is 1"),
        ({"do_resize": False}, "do_resize must be true"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std must not be 0"),
        ({"max_pixels": 700}, "too few"),
        ({"image_mean": [0.5]}, "list of three numbers"),
        ({"min_pixels": "many"}, "must be an integer"),
    ],
)
def test_settings_that_do_not_belong_to_the_model(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        geometry_of(tmp_path, "qwen2_5_vl", **settings)


def test_a_model_of_text_has_none(tmp_path: Path) -> None:
    assert open_geometry(locate(str(make_tiny_model(tmp_path / "model")))) is None
