"""LLaVA and InternVL whole, pictures to logits, against transformers: max|a-b| / max|b| under 1e-4 in float32."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from helpers.model_runner import ModelRunner, Sequence
from helpers.seeing_model import SeeingModel
from helpers.tiled_reference import TiledReference
from helpers.tiny_vl import CONFIGS, IMAGE, make_tiny_vl
from lightllm_rs.checkpoint import locate
from lightllm_rs.models import CausalLM, load_model
from lightllm_rs.models.vision import VisionTower, load_tower
from lightllm_rs.vision import FIRST_SYNTHETIC, Geometry, ImageInput, expand, open_geometry

CPU = torch.device("cpu")
TOLERANCE = 1e-4
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in CONFIGS},
    "internvl-tied": ("internvl", {"tie_word_embeddings": True}),
    "internvl-qwen3": ("internvl", {"text_config": {"model_type": "qwen3", "head_dim": 16}}),
    "llava-class-token": ("llava", {"vision_feature_select_strategy": "full"}),
}


def picture(width: int, height: int) -> Image.Image:
    draw = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


class Eyes:
    """One model in both implementations."""

    def __init__(self, folder: Path) -> None:
        checkpoint = locate(str(folder))
        geometry = open_geometry(checkpoint)
        assert geometry is not None
        self.geometry: Geometry = geometry
        self.tower: VisionTower = load_tower(checkpoint, geometry, dtype=torch.float32, device=CPU)
        self.model = SeeingModel(load_model(checkpoint, dtype=torch.float32, device=CPU))
        self.reference = TiledReference(folder, self.tower)

    def runner(self) -> ModelRunner:
        return ModelRunner(cast(CausalLM, self.model), dtype=torch.float32, device="cpu", pages=128)

    def prompt(self, parts: list[int | Image.Image]) -> tuple[list[int], Tensor]:
        """Parts (so many random tokens, or a picture) -> (ids with synthetic ones, transformers' logits)."""
        draw = torch.Generator().manual_seed(len(parts))
        ids: list[int] = []
        pictures: list[Image.Image] = []
        for part in parts:
            if isinstance(part, int):
                ids += torch.randint(3, 360, (part,), generator=draw).tolist()
            else:
                ids.append(IMAGE)
                pictures.append(part)
        pixels = [self.tower.pixels(one) for one in pictures]
        images = [
            ImageInput(hashlib.blake2b(one.tobytes() + bytes(one.size), digest_size=16).digest(), made.shape)
            for one, made in zip(pictures, pixels, strict=True)
        ]
        expanded = expand(ids, images, self.geometry)
        with torch.inference_mode():
            self.model.show(expanded.spans, self.tower.encode(pixels))
        plain = [IMAGE if token >= FIRST_SYNTHETIC else token for token in expanded.ids]
        return expanded.ids, self.reference.logits(plain, pictures)


@pytest.fixture(scope="module", params=VARIANTS, name="eyes")
def make_eyes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Eyes:
    kind, overrides = VARIANTS[request.param]
    return Eyes(make_tiny_vl(tmp_path_factory.mktemp("model"), kind, **overrides))


def assert_close(actual: Tensor, wanted: Tensor) -> None:
    assert actual.shape == wanted.shape
    error = (actual - wanted).abs().max() / wanted.abs().max()
    assert error.item() < TOLERANCE


PROMPTS: dict[str, list[int | Image.Image]] = {
    "text": [20],
    "image-alone": [picture(56, 28)],
    "text-before": [7, picture(50, 90)],
    "text-after": [picture(90, 50), 9],
    "several": [5, picture(28, 28), 3, picture(200, 40), picture(31, 77), 8, picture(1, 1), 4],
    "the-same-twice": [2, picture(60, 30), 1, picture(60, 30), 2],
}


@pytest.mark.parametrize("name", PROMPTS)
def test_whole_prompts(eyes: Eyes, name: str) -> None:
    ids, wanted = eyes.prompt(PROMPTS[name])
    assert_close(eyes.runner().step([], [(Sequence(ids), len(ids))], every=True), wanted)


@pytest.mark.parametrize("size", [1, 7, 16])
def test_chunks(eyes: Eyes, size: int) -> None:
    """Chunks that begin and end anywhere in pictures, beside rows of other requests."""
    ids, wanted = eyes.prompt(PROMPTS["several"])
    text, wanted_text = eyes.prompt([30])
    runner, row, other = eyes.runner(), Sequence(ids), Sequence(text)
    runner.step([], [(other, 2)])
    found = []
    while row.done < len(ids):
        count = min(size, len(ids) - row.done)
        decodes = [other] if other.done < len(text) else []
        logits = runner.step(decodes, [(row, count)], every=True)
        if decodes:
            assert_close(logits[:1], wanted_text[other.done - 1 : other.done])
        found.append(logits[len(decodes) :])
    assert_close(torch.cat(found), wanted)


def test_decode_and_prefix_hits(eyes: Eyes) -> None:
    """A request that starts on the pages of another, behind its picture or in the middle of it."""
    ids, wanted = eyes.prompt([5, picture(28, 28), 12, picture(100, 40), 11])
    runner, first = eyes.runner(), Sequence(ids)
    runner.step([], [(first, len(ids) - 4)])
    for index in range(len(ids) - 4, len(ids)):
        assert_close(runner.step([first]), wanted[index : index + 1])
    for pages in (1, 2, 3, len(ids) // 8 - 1):
        done = pages * 8
        hit = Sequence(ids, done=done, pages=first.pages[:pages])
        assert_close(runner.step([], [(hit, len(ids) - done)], every=True), wanted[done:])


def test_pictures_matter(eyes: Eyes) -> None:
    """That the tests above see pictures at all: another picture in the same place gives other logits."""
    _, one = eyes.prompt([4, picture(50, 50), 4])
    _, two = eyes.prompt([4, picture(51, 51), 4])
    assert not torch.allclose(one[-1], two[-1], rtol=1e-2)
