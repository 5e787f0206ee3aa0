"""LLaVA-NeXT: the whole picture as one square of the tower, then its tiles, without what only holds padding.

A row of patches goes through all tiles beside one another, and ends with the newline's own token.
"""

from __future__ import annotations

from ..checkpoint import CheckpointError
from ..checkpoint.fields import Fields
from ..checkpoint.llava_vision import LlavaVision, pinpoints
from .geometry import Geometry, ImageShape
from .picture_settings import picture_settings, square
from .tiling import best_pinpoint, unpadded


class LlavaNextGeometry(Geometry):
    """A grid is (columns of tiles, rows of patches, columns of patches), the latter two after the padding is gone."""

    def __init__(self, vision: LlavaVision, fields: Fields) -> None:
        self.placeholder = vision.image_token
        self.tile, self.side = vision.tower.image, vision.tower.side
        self.pinpoints = vision.pinpoints
        if fields.has("image_grid_pinpoints"):
            given = pinpoints(fields, fields.values["image_grid_pinpoints"], self.tile)
            if given != self.pinpoints:
                raise CheckpointError(f"{fields.source}: image_grid_pinpoints are not those of config.json")
        self.settings = picture_settings(fields, ("LlavaNextImageProcessor",), self.tile)
        size = self.settings["size"]
        if any(edge != self.tile for edge in size.values()):
            raise CheckpointError(f"{fields.source}: size is not the {self.tile} pixels that the tower takes")
        # It is a tile's side even where nothing is cropped.
        tile = {"height": self.tile, "width": self.tile}
        if square(fields, "crop_size", self.tile) != tile:
            raise CheckpointError(f"{fields.source}: crop_size is not the {self.tile} pixels of a tile")
        self.settings["crop_size"] = tile
        self.settings["image_grid_pinpoints"] = [list(pair) for pair in self.pinpoints]

    def shape(self, width: int, height: int) -> ImageShape:
        tall, wide = best_pinpoint(width, height, self.pinpoints)
        tile_columns, tile_rows = wide // self.tile, tall // self.tile
        columns, rows = unpadded(width, height, tile_columns * self.side, tile_rows * self.side)
        tokens = self.side**2 + rows * (columns + 1)
        return ImageShape((tile_columns, rows, columns), tokens, (1 + tile_columns * tile_rows) * self.tile**2)
