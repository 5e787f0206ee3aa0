"""A prompt about pictures, and what transformers makes of it."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from helpers.seeing_backend import Prompt
from helpers.seeing_reference import Reference, picture
from helpers.tiny_seeing import IMAGE_TOKEN

TOLERANCE = 1e-4
FIRST, SECOND, THIRD = picture(84, 112, 1), picture(200, 60, 2), picture(28, 28, 3)
ABOUT = [5, 6, 7, IMAGE_TOKEN, 8, 9, IMAGE_TOKEN, 15, IMAGE_TOKEN, 10, 11, 12, 13, 14]


def wanted(reference: Reference, prompt: Prompt, pictures: list[Image.Image], output: list[int] = []) -> Tensor:  # noqa: B006
    """Logits after the last token of the prompt and after each token of `output`."""
    return reference.logits([*prompt.plain, *output], pictures)[len(prompt.plain) - 1 :]


def assert_close(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error.item() < TOLERANCE
