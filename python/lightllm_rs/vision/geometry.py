"""What a family does with the size of a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class ImageShape:
    """A picture as the language model sees it.

    grid: three numbers of the family's own; with rotary positions of three axes they are frames, rows and columns of
        tokens.
    tokens: that stand for the picture.
    pixels: that the vision tower computes on, what it takes to encode the picture.
    """

    grid: Grid
    tokens: int
    pixels: int


class Geometry(ABC):
    """Of one model.

    settings: of the image processor, in canonical form: what features depend on beside the picture and the weights.
    placeholder: id that marks one picture in a tokenised prompt.
    before, after: ids that a placeholder's tokens are put between.
    """

    settings: dict[str, Any]
    placeholder: int
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @abstractmethod
    def shape(self, width: int, height: int) -> ImageShape:
        """Of a picture of so many pixels, upright (after EXIF orientation). Raises `PictureError`."""

    def advance(self, grid: Grid, tokens: int) -> int:
        """Rotary positions that a picture takes."""
        return tokens
