"""LLaVA's and InternVL's geometry against transformers' processors, which count tokens of their own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

from helpers.tiny_models import write_json
from helpers.tiny_vl import CONFIGS, IMAGE, PROCESSORS, TOKENS, tiny_vl_config, write_vl_tokenizer
from lightllm_rs.checkpoint import CheckpointError, UnsupportedModel, locate
from lightllm_rs.vision import Geometry, PictureError, open_geometry

SIDES = (1, 2, 3, 7, 14, 27, 28, 29, 41, 55, 56, 57, 83, 84, 85, 100, 200, 333, 336, 500, 671, 672, 673, 1000, 3333)
LARGE_PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
REAL_SIDE = {"llava": 336, "llava-next": 336, "internvl": 448}


def sizes() -> Iterator[tuple[int, int]]:
    """(width, height) of every pair of SIDES, and a thousand at random."""
    yield from ((width, height) for width in SIDES for height in SIDES)
    draw = random.Random(5)
    for _ in range(1000):
        yield int(2 ** draw.uniform(0, 13)), int(2 ** draw.uniform(0, 13))
    yield from ((1, 10_000), (10_000, 1), (8192, 8191), (5000, 25))


def folder_of(folder: Path, kind: str, processor: dict[str, Any] | None = None, **overrides: Any) -> Path:
    """A model folder without weights."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", tiny_vl_config(kind, **overrides))
    write_json(folder / "preprocessor_config.json", processor or PROCESSORS[kind])
    write_vl_tokenizer(folder, TOKENS["internvl"], "x")
    return folder


def geometry_of(folder: Path) -> Geometry:
    geometry = open_geometry(locate(str(folder), load_format="dummy"))
    assert geometry is not None
    return geometry


def real(folder: Path, kind: str) -> Geometry:
    """The geometry with the sizes of published models."""
    side = REAL_SIDE[kind]
    square = {"height": side, "width": side}
    processor = {**PROCESSORS[kind], "size": {"shortest_edge": side}, "crop_size": square}
    overrides: dict[str, Any] = {"vision_config": {"image_size": side, "patch_size": 14}}
    if kind == "llava-next":
        overrides["image_grid_pinpoints"] = processor["image_grid_pinpoints"] = LARGE_PINPOINTS
    if kind == "internvl":
        processor = {**PROCESSORS[kind], "size": square, "max_patches": 12}
    return geometry_of(folder_of(folder, kind, processor, **overrides))


def tokenizer_of(folder: Path) -> Any:
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


def wanted_tokens(processor: Any) -> list[int]:
    return list(processor._get_num_multimodal_tokens([[height, width] for width, height in sizes()]).num_image_tokens)


@pytest.mark.parametrize("scale", ["tiny", "real"])
def test_llava_next_counts(tmp_path: Path, scale: str) -> None:
    geometry = real(tmp_path, "llava-next") if scale == "real" else geometry_of(folder_of(tmp_path, "llava-next"))
    side, patch = (336, 14) if scale == "real" else (28, 7)
    own = {key: value for key, value in geometry.settings.items() if key != "image_processor_type"}
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(**own), tokenizer_of(tmp_path), patch, "default", num_additional_image_tokens=1
    )
    for (width, height), tokens in zip(sizes(), wanted_tokens(processor), strict=True):
        shape = geometry.shape(width, height)
        assert shape.tokens == tokens, (width, height)
        columns, rows, patches = shape.grid
        assert shape.tokens == (side // patch) ** 2 + rows * (patches + 1)
        assert shape.pixels % (side * side) == 0
        assert (shape.pixels // (side * side) - 1) % columns == 0


@pytest.mark.parametrize("scale", ["tiny", "real"])
@pytest.mark.parametrize(("low", "high"), [(1, 12), (1, 1), (2, 5), (6, 6)])
def test_internvl_counts(tmp_path: Path, scale: str, low: int, high: int) -> None:
    side, patch = (448, 14) if scale == "real" else (28, 7)
    processor = {
        **PROCESSORS["internvl"],
        "size": {"height": side, "width": side},
        "min_patches": low,
        "max_patches": high,
    }
    vision = {"image_size": side, "patch_size": patch}
    geometry = geometry_of(folder_of(tmp_path, "internvl", processor, vision_config=vision))
    own = {key: value for key, value in geometry.settings.items() if key != "image_processor_type"}
    image_processor = GotOcr2ImageProcessorPil(**own)
    each = (side // patch // 2) ** 2
    for width, height in sizes():
        shape = geometry.shape(width, height)
        tiles = image_processor.get_number_of_image_patches(height, width)
        assert (shape.tokens, shape.pixels) == (tiles * each, tiles * side**2), (width, height)
        assert shape.grid == (tiles, each**0.5, each**0.5)


def test_llava_counts(tmp_path: Path) -> None:
    geometry = real(tmp_path, "llava")
    own = {key: value for key, value in geometry.settings.items() if key != "image_processor_type"}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(**own), tokenizer_of(tmp_path), 14, "default", num_additional_image_tokens=1
    )
    for (width, height), tokens in zip(sizes(), wanted_tokens(processor), strict=True):
        if max(width, height) > 200 * min(width, height):
            with pytest.raises(PictureError, match="at most 200 times"):
                geometry.shape(width, height)
        else:
            assert geometry.shape(width, height).tokens == tokens == 576


def test_the_class_token_may_be_one_of_the_features(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "llava", vision_feature_select_strategy="full")
    assert geometry_of(folder).shape(30, 20).tokens == 17


def test_internvl_puts_its_images_between_tokens(tmp_path: Path) -> None:
    """As transformers' own processor writes the prompt."""
    folder = folder_of(tmp_path, "internvl")
    geometry = geometry_of(folder)
    tokenizer = tokenizer_of(folder)
    for role, text in (("start", "<img>"), ("end", "</img>"), ("context", "<IMG_CONTEXT>")):
        setattr(tokenizer, f"{role}_image_token", text)
        setattr(tokenizer, f"{role}_image_token_id", tokenizer.convert_tokens_to_ids(text))
    tokenizer.video_token = "<video>"
    text = InternVLProcessor.replace_image_token
    processor = InternVLProcessor.__new__(InternVLProcessor)
    processor.start_image_token, processor.end_image_token = "<img>", "</img>"
    processor.image_token, processor.image_seq_length = "<IMG_CONTEXT>", 4
    shape = geometry.shape(60, 30)
    ids = tokenizer.encode(text(processor, {"num_patches": [shape.grid[0]]}, 0))
    assert ids == [*geometry.before, *[geometry.placeholder] * shape.tokens, *geometry.after]
    assert geometry.placeholder == IMAGE


@pytest.mark.parametrize(
    ("kind", "processor", "overrides", "message"),
    [
        ("llava", {"crop_size": {"height": 32, "width": 32}}, {}, "not the 28x28 pixels"),
        ("llava", {"do_center_crop": False}, {}, "not the 28x28 pixels"),
        ("llava", {"image_processor_type": "ViTImageProcessor"}, {}, "ViTImageProcessor"),
        ("llava", {"image_std": [0.5, 0, 0.5]}, {}, "image_std"),
        ("llava", {}, {"vision_config": {"model_type": "dinov2"}}, "dinov2"),
        ("llava", {}, {"vision_config": {"image_size": [28, 42]}}, "square"),
        ("llava", {}, {"text_config": {"model_type": "phi"}}, "phi"),
        ("llava", {}, {"vision_feature_layer": 4}, "vision_feature_layer"),
        ("llava-next", {}, {"image_grid_pinpoints": [[28, 30]]}, "no multiple"),
        ("llava-next", {"do_center_crop": False, "crop_size": {"height": 14, "width": 14}}, {}, "crop_size"),
        ("llava-next", {"image_grid_pinpoints": [[56, 56]]}, {}, "not those of config.json"),
        ("llava-next", {}, {"vision_feature_select_strategy": "full"}, "no grid of patches"),
        ("internvl", {"size": {"height": 28, "width": 56}}, {}, "not the 28x28 pixels"),
        ("internvl", {"min_patches": 9}, {}, "min_patches"),
        ("internvl", {}, {"downsample_ratio": 0.3}, "downsample_ratio"),
        ("internvl", {}, {"vision_config": {"model_type": "clip_vision_model"}}, "clip"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, kind: str, processor: dict[str, Any], overrides: dict[str, Any], message: str
) -> None:
    folder = folder_of(tmp_path, kind, {**PROCESSORS[kind], **processor}, **overrides)
    with pytest.raises((CheckpointError, UnsupportedModel), match=message):
        geometry_of(folder)


@pytest.mark.parametrize("kind", CONFIGS)
def test_settings_are_canonical(tmp_path: Path, kind: str) -> None:
    """The same processor, said in other words, has the same settings: they are part of a picture's key."""
    first = geometry_of(folder_of(tmp_path / "a", kind)).settings
    processor = {**PROCESSORS[kind], "do_rescale": True, "processor_class": "X", "resample": 3, "do_resize": True}
    assert geometry_of(folder_of(tmp_path / "b", kind, processor)).settings == first
    other = geometry_of(folder_of(tmp_path / "c", kind, {**processor, "resample": 2})).settings
    assert other != first
