"""LLaVA-1.5: every picture becomes one square of the tower, and as many tokens."""

from __future__ import annotations

from ..checkpoint.fields import Fields
from ..checkpoint.llava_vision import LlavaVision
from .errors import PictureError
from .geometry import Geometry, ImageShape
from .picture_settings import picture_settings

LONGEST = 200
"""The longer side is at most so many times the shorter one: the shorter one is scaled to the tower's, the longer one
with it, before the middle is cut out."""
PADDED = 1 << 27
"""Pixels of the square that a picture is padded to, where the processor does that."""


class LlavaGeometry(Geometry):
    """A grid is (1, rows, columns) of patches, or (1, 1, tokens) where the class token is one of them."""

    def __init__(self, vision: LlavaVision, fields: Fields) -> None:
        self.placeholder = vision.image_token
        side = vision.tower.side
        known = ("CLIPImageProcessor", "LlavaImageProcessor", "SiglipImageProcessor")
        self.settings = picture_settings(fields, known, vision.tower.image)
        tokens = vision.tile_tokens
        grid = (1, side, side) if tokens == side**2 else (1, 1, tokens)
        self.one_shape = ImageShape(grid, tokens, vision.tower.image**2)

    def shape(self, width: int, height: int) -> ImageShape:
        longest, shortest = max(width, height), min(width, height)
        if longest > LONGEST * shortest:
            raise PictureError(
                f"an image of {width}x{height} pixels is too long for its width: "
                f"one side may be at most {LONGEST} times the other"
            )
        if self.settings.get("do_pad") and longest**2 > PADDED:
            raise PictureError(
                f"an image of {width}x{height} pixels is too large: it may have at most {int(PADDED**0.5)} a side"
            )
        return self.one_shape
