"""InternVL's tower: InternViT, neighbouring patches side by side, and a projector of a norm and two matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...checkpoint import InternVLVision, ModelConfig
from ...layers.layer_norm import LayerNorm
from ...vision import Geometry, ImageShape
from .base import Pixels, VisionTower
from .llava import PROJECTOR, Projector, processed
from .vit import VisionTransformer

if TYPE_CHECKING:
    from PIL.Image import Image

EPS = 1e-5
"""Of the projector's norm, which no config names."""


class InternVL(VisionTower):
    """See the module's text."""

    def __init__(self, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(config, geometry, dtype, device)
        vision = config.vision
        assert isinstance(vision, InternVLVision), "the registry goes by the architecture, as the config does"
        self.merge = vision.merge
        self.tower = VisionTransformer("vision_tower", vision.tower, [vision.depth], dtype, device)
        tower = vision.tower
        self.last_norm = (
            LayerNorm("vision_tower.layernorm", tower.hidden, tower.eps, dtype, device) if vision.normed else None
        )
        inputs = tower.hidden * vision.merge**2
        self.norm = LayerNorm(f"{PROJECTOR}.layer_norm", inputs, EPS, dtype, device)
        self.projector = Projector(inputs, config.hidden, vision.activation, True, dtype, device)

    @classmethod
    def from_config(cls, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> InternVL:
        return cls(config, geometry, dtype, device)

    def ignored(self, name: str) -> bool:
        """What comes after the state that is used, and the token that only training masks patches with."""
        if name.startswith("vision_tower.layernorm."):
            return self.last_norm is None
        return self.tower.unused(name) or name == "vision_tower.embeddings.mask_token"

    def pixels(self, picture: Image) -> Pixels:
        shape = self.geometry.shape(*picture.size)
        return Pixels(processed(self.processor, picture), shape)

    def blank(self, shape: ImageShape) -> Pixels:
        return Pixels(self.tower.blank(shape.pixels), shape)

    def encode(self, inputs: Sequence[Pixels]) -> list[Tensor]:
        if not inputs:
            return []
        values = torch.cat([one.values for one in inputs]).to(self.device)
        (x,) = self.tower(self.normalise(values))
        if self.last_norm is not None:
            x = self.last_norm(x)
        rows: Tensor = self.projector(self.norm(merged(x[:, 1:], self.merge)))
        return list(torch.split(rows, [one.shape.tokens for one in inputs]))


def merged(x: Tensor, side: int) -> Tensor:
    """[N, rows * columns, hidden] of square pictures -> [N * rows * columns / side^2, side^2 * hidden]: side by side
    neighbours in one row, line by line (InternVL's pixel shuffle)."""
    tiles, patches, hidden = x.shape
    each = round(patches**0.5)
    out = each // side
    x = x.reshape(tiles, out, side, out, side, hidden)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, hidden * side**2)
