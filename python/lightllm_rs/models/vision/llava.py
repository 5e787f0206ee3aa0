"""The towers of LLaVA-1.5 and LLaVA-NeXT: CLIP or SigLIP, and a projector of two matrices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...checkpoint import LlavaVision, ModelConfig
from ...layers.activation import activation
from ...layers.dense import Dense
from ...layers.weights import Layer, Weight, part_of
from ...vision import Geometry, ImageShape
from .base import Pixels, VisionTower
from .processor import ImageProcessor, as_bytes
from .vit import VisionTransformer

if TYPE_CHECKING:
    from PIL.Image import Image

PROJECTOR = "multi_modal_projector"


class Projector(nn.Module):
    """[T, inputs] -> [T, hidden]: matrix, activation, matrix."""

    def __init__(
        self, inputs: int, hidden: int, function: str, bias: bool, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        self.first = Dense(f"{PROJECTOR}.linear_1", hidden, inputs, bias, dtype, device)
        self.activation = activation(function)
        self.second = Dense(f"{PROJECTOR}.linear_2", hidden, hidden, bias, dtype, device)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.activation(self.first(x)))
        return out


class Llava(VisionTower):
    """LLaVA-1.5: the patches of one square, projected."""

    def __init__(self, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(config, geometry, dtype, device)
        vision = config.vision
        assert isinstance(vision, LlavaVision), "the registry goes by the architecture, as the config does"
        self.drop_first = vision.drop_first
        self.tower = VisionTransformer("vision_tower", vision.tower, vision.depths, dtype, device)
        inputs = vision.tower.hidden * len(vision.depths)
        self.projector = Projector(inputs, config.hidden, vision.activation, vision.bias, dtype, device)

    @classmethod
    def from_config(cls, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> Llava:
        return cls(config, geometry, dtype, device)

    def ignored(self, name: str) -> bool:
        """What comes after the deepest state that is used."""
        return self.tower.unused(name)

    def pixels(self, picture: Image) -> Pixels:
        shape = self.geometry.shape(*picture.size)
        return Pixels(processed(self.processor, picture), shape)

    def blank(self, shape: ImageShape) -> Pixels:
        return Pixels(self.tower.blank(shape.pixels), shape)

    def encode(self, inputs: Sequence[Pixels]) -> list[Tensor]:
        if not inputs:
            return []
        squares = self.squares(torch.cat([one.values for one in inputs]))
        parts = torch.split(squares, [one.values.shape[0] for one in inputs])
        return [self.packed(part, one) for part, one in zip(parts, inputs, strict=True)]

    def squares(self, values: Tensor) -> Tensor:
        """Pixels [N, 3, side, side] -> projected features [N, tokens, width]."""
        states = self.tower(self.normalise(values.to(self.device)))
        x = states[0] if len(states) == 1 else torch.cat(states, dim=-1)
        if self.drop_first:
            x = x[:, 1:]
        rows: Tensor = self.projector(x.reshape(-1, x.shape[-1]))
        return rows.view(*x.shape[:2], -1)

    def packed(self, squares: Tensor, picture: Pixels) -> Tensor:
        """Features [N, tokens, width] of a picture's squares -> rows in the order of its tokens."""
        return squares[0]


class Newline(Layer):
    """What stands at the end of each row of patches, [width]."""

    def __init__(self, width: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.row = torch.empty(width, dtype=dtype, device=device)

    def weights(self) -> Iterator[Weight]:
        yield Weight("image_newline", tuple(self.row.shape), part_of(self.row, slice(None)))


class LlavaNext(Llava):
    """LLaVA-NeXT: the whole picture, then its tiles put together, without the rows or columns of mere padding."""

    def __init__(self, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(config, geometry, dtype, device)
        self.newline = Newline(config.hidden, dtype, device)

    def packed(self, squares: Tensor, picture: Pixels) -> Tensor:
        tile_columns, rows, columns = picture.shape.grid
        whole, tiles = squares[0], squares[1:]
        side = round(whole.shape[0] ** 0.5)
        grid = tiles.view(-1, tile_columns, side, side, tiles.shape[-1]).transpose(1, 2)
        grid = grid.reshape(-1, tile_columns * side, tiles.shape[-1])
        top, left = (grid.shape[0] - rows) // 2, (grid.shape[1] - columns) // 2
        kept = grid[top : top + rows, left : left + columns]
        ended = torch.cat((kept, self.newline.row.expand(rows, 1, -1)), dim=1)
        return torch.cat((whole, ended.flatten(0, 1)))


def processed(processor: ImageProcessor, picture: Image) -> Tensor:
    """uint8 [N, 3, side, side]: a picture's squares, as transformers' image processor makes them."""
    values = torch.from_numpy(as_bytes(processor(picture)["pixel_values"]))
    return values[0] if values.ndim == 5 else values
