"""Placeholders to spans and synthetic ids; positions of three axes against transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen2VLConfig, Qwen3VLConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from helpers.tiny_seeing import IMAGE_TOKEN, seeing_config, write_configs
from lightllm_rs.checkpoint import locate
from lightllm_rs.vision import FIRST_SYNTHETIC, Geometry, ImageInput, PromptError, expand, open_geometry, synthetic_ids
from lightllm_rs.vision.mrope import rope_positions


@pytest.fixture(name="geometry")
def make_geometry(tmp_path: Path) -> Geometry:
    geometry = open_geometry(locate(str(write_configs(tmp_path, "qwen2_5_vl"))))
    assert geometry is not None
    return geometry


def images(geometry: Geometry, *sizes: tuple[int, int]) -> list[ImageInput]:
    return [ImageInput(bytes([number] * 16), geometry.shape(*size)) for number, size in enumerate(sizes)]


def test_synthetic_ids_are_the_pictures_own() -> None:
    ids = synthetic_ids(b"k" * 16, 3000)
    assert all(FIRST_SYNTHETIC <= token < 1 << 32 for token in ids)
    assert len(set(ids)) > 2990, "31 bits hardly ever repeat"
    assert ids[:7] == synthetic_ids(b"k" * 16, 7), "an id depends on its index, not on how many there are"
    assert not set(ids) & set(synthetic_ids(b"l" * 16, 3000))


def test_expansion(geometry: Geometry) -> None:
    first, second = images(geometry, (84, 56), (112, 112))
    assert (first.shape.tokens, second.shape.tokens) == (6, 16)
    found = expand([5, IMAGE_TOKEN, 6, IMAGE_TOKEN, 7, 8], [first, second], geometry)
    assert [(span.start, span.tokens, span.key, span.grid) for span in found.spans] == [
        (1, 6, bytes(16), (1, 2, 3)),
        (8, 16, b"\1" * 16, (1, 4, 4)),
    ]
    assert found.ids == [5, *synthetic_ids(bytes(16), 6), 6, *synthetic_ids(b"\1" * 16, 16), 7, 8]
    assert found.position_offset == (3 - 6) + (4 - 16)
    assert expand([1, 2], [], geometry).position_offset == 0


def test_words_around_a_picture(geometry: Geometry) -> None:
    geometry.before, geometry.after = (11,), (12, 13)
    (image,) = images(geometry, (28, 28))
    found = expand([IMAGE_TOKEN], [image], geometry)
    assert found.ids == [11, *synthetic_ids(bytes(16), 1), 12, 13]
    assert found.spans[0].start == 1


@pytest.mark.parametrize("count", [0, 2])
def test_places_and_images_must_agree(geometry: Geometry, count: int) -> None:
    with pytest.raises(PromptError, match=f"1 places for images, but {count} images"):
        expand([IMAGE_TOKEN, 4], images(geometry, (28, 28), (56, 56))[:count], geometry)


SIZES = [(84, 56), (28, 28), (140, 28), (28, 196), (112, 140)]


def their_positions(kind: str, ids: list[int], grids: list[tuple[int, int, int]]) -> tuple[np.ndarray, int]:
    config = seeing_config(kind)
    with torch.device("meta"):
        model = Qwen3VLModel(Qwen3VLConfig(**config)) if kind == "qwen3_vl" else Qwen2VLModel(Qwen2VLConfig(**config))
    tokens = torch.tensor([ids])
    patches = torch.tensor([(t, 2 * h, 2 * w) for t, h, w in grids])
    positions, offset = model.get_rope_index(
        tokens, mm_token_type_ids=(tokens == IMAGE_TOKEN).int(), image_grid_thw=patches
    )
    return positions[:, 0].numpy(), int(offset)


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen3_vl"])
def test_positions(geometry: Geometry, kind: str) -> None:
    inputs = images(geometry, *SIZES)
    prompt = [5, 6, IMAGE_TOKEN, 7, IMAGE_TOKEN, 8, IMAGE_TOKEN, 9, 10, 11, IMAGE_TOKEN, 12, IMAGE_TOKEN, 4, 4]
    found = expand(prompt, inputs, geometry)
    plain = [IMAGE_TOKEN if token >= FIRST_SYNTHETIC else token for token in found.ids]
    wanted, offset = their_positions(kind, plain, [image.shape.grid for image in inputs])
    length = len(plain)
    assert found.position_offset == offset < 0
    assert np.array_equal(rope_positions(0, length, found.spans), wanted)
    for start in range(length):
        for end in (start + 1, start + 9, length):
            end = min(end, length)
            assert np.array_equal(rope_positions(start, end - start, found.spans), wanted[:, start:end])
    after = rope_positions(length - 1, 40, found.spans)  # generated tokens go on
    assert np.array_equal(after, np.arange(length - 1, length + 39) + offset + np.zeros((3, 1), dtype=np.int64))


def test_positions_of_text_are_its_own() -> None:
    assert np.array_equal(rope_positions(3, 4, []), np.tile(np.arange(3, 7), (3, 1)))
