"""What HTTP processes tell visual servers about an image; it travels through the image cache, unread."""

from __future__ import annotations

from typing import Literal

import msgspec

from lightllm_rs.messages.frames import FrameDecoder


class Recipe(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How to make an image out of its bytes.

    Attributes:
        detail: as the request said.
        width, height: of the image that this gives, upright, in pixels.
        original_pixels: what decoding it costs.
    """

    detail: Literal["auto", "low", "high"]
    width: int
    height: int
    original_pixels: int


recipe_decoder: FrameDecoder[Recipe] = FrameDecoder(Recipe)
