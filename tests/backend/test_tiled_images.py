"""LLaVA and InternVL through step plans, against transformers: logits within 1e-4 relative, float32.

What a plan may do with pictures is tested with Qwen's models (test_images.py); here are the families whose positions
are plain, and whose pictures may stand between tokens of their own.
"""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor

from helpers.seeing_backend import Prompt, SeeingBackend
from helpers.seeing_reference import picture
from helpers.tiled_reference import TiledReference
from helpers.tiny_vl import IMAGE, make_tiny_vl

TOLERANCE = 1e-4
PICTURES = [picture(84, 112, 1), picture(200, 60, 2), picture(28, 28, 3)]
ABOUT = [5, 6, 7, IMAGE, 8, 9, IMAGE, IMAGE, 10, 11, 12, 13, 14]

Known = tuple[SeeingBackend, TiledReference]


@pytest.fixture(scope="module", params=["llava", "llava-next", "llava-next-siglip", "internvl"], name="once")
def make_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = make_tiny_vl(tmp_path_factory.mktemp("model"), request.param)
    seeing = SeeingBackend(folder)
    return seeing, TiledReference(folder, seeing.tower)


@pytest.fixture(name="known")
def without_requests(once: Known) -> Known:
    once[0].reset()
    return once


def assert_wanted(known: Known, prompt: Prompt, pictures: list[Image.Image], output: list[int]) -> None:
    """The logits of the steps so far are those after the prompt and after each token of `output` but the last."""
    seeing, reference = known
    actual: Tensor = seeing.logits()
    expected = reference.logits([*prompt.plain, *output[:-1]], pictures)[len(prompt.plain) - 1 :]
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error.item() < TOLERANCE
    assert torch.isfinite(actual).all()


def test_prefill_and_decode(known: Known) -> None:
    seeing = known[0]
    prompt = seeing.prompt(ABOUT, PICTURES)
    assert prompt.expanded.position_offset == 0
    seeing.attach(0, prompt)
    assert_wanted(known, prompt, PICTURES, seeing.driver.generate(0, 8))


@pytest.mark.parametrize("chunk", [1, 7, 16])
def test_chunks(known: Known, chunk: int) -> None:
    """Many of them end inside a picture."""
    seeing = known[0]
    prompt = seeing.prompt(ABOUT, PICTURES)
    seeing.attach(1, prompt)
    while seeing.driver.slots[1].done < len(prompt.ids):
        seeing.driver.prefill(1, chunk)
        last = seeing.driver.step()
    assert_wanted(known, prompt, PICTURES, [last.tokens[1]])
    assert sum(map(len, seeing.features.asked)) == 3, "each once"


@pytest.mark.parametrize("pages", [1, 3, 7])
def test_prefix_hits(known: Known, pages: int) -> None:
    seeing = known[0]
    first = seeing.prompt(ABOUT, PICTURES)
    seeing.attach(0, first)
    seeing.driver.generate(0, 2)
    seeing.logits()
    second = seeing.prompt([*ABOUT[:-2], 20, 21, 22], PICTURES)
    assert second.ids[: 4 * pages] == first.ids[: 4 * pages]
    seeing.attach(1, second, prefix_pages=seeing.driver.slots[0].pages[:pages])
    assert_wanted(known, second, PICTURES, seeing.driver.generate(1, 4))


def test_text_alone(known: Known) -> None:
    seeing = known[0]
    prompt = seeing.prompt([40, 41, 42, 43], [])
    seeing.attach(4, prompt)
    assert_wanted(known, prompt, [], seeing.driver.generate(4, 5))
    assert seeing.features.asked == []
