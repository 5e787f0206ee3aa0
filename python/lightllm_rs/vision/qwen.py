"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: a picture keeps its sides, rounded to whole tokens, within a budget of pixels.

Source: `smart_resize` of Qwen2-VL (https://github.com/QwenLM/Qwen2-VL), as transformers' image processor has it.
"""

from __future__ import annotations

import math
from typing import Any

from ..checkpoint import CheckpointError, QwenVision
from ..checkpoint.fields import Fields
from .errors import PictureError
from .geometry import Geometry, Grid, ImageShape
from .mrope import advance
from .processor_settings import switch, three_numbers

LONGEST = 200
"""A picture's longer side is at most so many times the shorter one."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
BICUBIC = 3


class QwenGeometry(Geometry):
    """See the module's text. A grid is (1, rows, columns) of tokens, in which the tower has merged patches."""

    def __init__(self, vision: QwenVision, fields: Fields) -> None:
        self.placeholder = vision.image_token
        self.merge = vision.patches.merge
        for key, value in (("patch_size", vision.patches.side), ("merge_size", vision.patches.merge)):
            if (found := fields.integer(key, value)) != value:
                raise CheckpointError(f"{fields.source}: {key} is {found}, but config.json's is {value}")
        if (frames := fields.integer("temporal_patch_size", vision.patches.frames)) != vision.patches.frames:
            raise CheckpointError(
                f"{fields.source}: temporal_patch_size is {frames}, but config.json's is {vision.patches.frames}"
            )
        self.side = vision.patches.side * vision.patches.merge
        size = fields.section("size") or Fields({}, fields.source)
        least = size.integer("shortest_edge", 56 * 56, high=1 << 30)
        most = size.integer("longest_edge", 28 * 28 * 1280, high=1 << 30)
        self.least = fields.integer("min_pixels", least, high=1 << 30)
        self.most = fields.integer("max_pixels", most, high=1 << 30)
        if not switch(fields, "do_resize", True):
            raise CheckpointError(f"{fields.source}: do_resize must be true, as sides must be multiples of {self.side}")
        if self.most < max(self.least, self.side**2):
            raise CheckpointError(f"{fields.source}: pictures may have {self.most} pixels, which is too few")
        self.settings = self._settings(vision, fields)
        if 0.0 in self.settings["image_std"]:
            raise fields.error("image_std", "must not be 0")

    def _settings(self, vision: QwenVision, fields: Fields) -> dict[str, Any]:
        return {
            "image_processor_type": "Qwen2VLImageProcessor",
            "do_convert_rgb": switch(fields, "do_convert_rgb", True),
            "do_resize": True,
            "resample": fields.integer("resample", BICUBIC, low=0, high=5),
            "size": {"shortest_edge": self.least, "longest_edge": self.most},
            "do_rescale": switch(fields, "do_rescale", True),
            "rescale_factor": fields.number("rescale_factor", 1 / 255, low=0.0, high=1e3),
            "do_normalize": switch(fields, "do_normalize", True),
            "image_mean": three_numbers(fields, "image_mean", CLIP_MEAN),
            "image_std": three_numbers(fields, "image_std", CLIP_DEVIATION),
            "patch_size": vision.patches.side,
            "temporal_patch_size": vision.patches.frames,
            "merge_size": vision.patches.merge,
        }

    def shape(self, width: int, height: int) -> ImageShape:
        height, width = self.resized(height, width)
        rows, columns = height // self.side, width // self.side
        return ImageShape((1, rows, columns), rows * columns, height * width)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that the tower sees, multiples of a token's side. Raises `PictureError`."""
        if max(height, width) > LONGEST * min(height, width):
            raise PictureError(
                f"an image of {width}x{height} pixels is too long for its width: "
                f"one side may be at most {LONGEST} times the other"
            )
        side = self.side
        rows, columns = round(height / side), round(width / side)
        if rows * columns * side * side > self.most:
            shrink = math.sqrt(height * width / self.most)
            rows = max(1, math.floor(height / shrink / side))
            columns = max(1, math.floor(width / shrink / side))
        elif rows * columns * side * side < self.least:
            stretch = math.sqrt(self.least / (height * width))
            rows, columns = math.ceil(height * stretch / side), math.ceil(width * stretch / side)
        return rows * side, columns * side

    def advance(self, grid: Grid, tokens: int) -> int:
        return advance(grid)
