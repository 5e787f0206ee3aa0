"""InternVL: the picture's tiles, row by row, then the whole picture as one more, if there is more than one tile."""

from __future__ import annotations

from ..checkpoint import CheckpointError, InternVLVision
from ..checkpoint.fields import Fields
from .geometry import Geometry, ImageShape
from .picture_settings import picture_settings
from .tiling import closest_grid


class InternVLGeometry(Geometry):
    """A grid is (tiles, rows, columns) of tokens, rows and columns being those of a tile.

    start, end: ids of the tokens that go around a picture's.
    """

    def __init__(self, vision: InternVLVision, fields: Fields, start: int, end: int) -> None:
        self.placeholder = vision.image_token
        self.before, self.after = (start,), (end,)
        self.tile, self.side = vision.tower.image, vision.side
        self.low = fields.integer("min_patches", 1, high=256)
        self.high = fields.integer("max_patches", 12, high=256)
        if self.low > self.high:
            raise CheckpointError(f"{fields.source}: min_patches ({self.low}) is more than max_patches ({self.high})")
        self.settings = picture_settings(fields, ("GotOcr2ImageProcessor",), self.tile)
        # Cut into tiles whatever the file says, as transformers' processor of InternVL does.
        self.settings |= {"crop_to_patches": True, "min_patches": self.low, "max_patches": self.high}

    def shape(self, width: int, height: int) -> ImageShape:
        columns, rows = 1, 1
        if self.high > 1:
            columns, rows = closest_grid(width, height, self.tile, self.low, self.high)
        tiles = columns * rows + (columns * rows > 1)
        return ImageShape((tiles, self.side, self.side), tiles * self.side**2, tiles * self.tile**2)
