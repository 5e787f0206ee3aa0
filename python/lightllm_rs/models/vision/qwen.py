"""The vision towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL: pictures of any size, in patches, as many as they need.

Sources: https://arxiv.org/abs/2409.12191 (dynamic resolution, rotary positions of rows and columns),
https://arxiv.org/abs/2502.13923 (attention in windows), https://arxiv.org/abs/2511.21631 (deep-stack features).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ...checkpoint import ModelConfig, QwenVision
from ...layers.segment_attention import Segments
from ...vision import Geometry, ImageShape
from ...vision.geometry import Grid
from .base import Pixels, VisionTower
from .processor import as_bytes
from .qwen_grid import Array, PatchGrid, interpolated, patch_grid
from .qwen_layers import Block, LearnedPositions, Merger, PatchProjection

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Layout:
    """A batch of pictures.

    tokens: int64 [T], 0 .. T. rope: float32 [T, 2, head_dim], as layers/rotary.py makes it.
    pictures, windows: which patches attend to each other in whole and in other layers.
    order, restored: int64 [T / square]: tokens in the order of the windows, and where each came from; None without.
    """

    tokens: Tensor
    rope: Tensor
    pictures: Segments
    windows: Segments
    order: Tensor | None
    restored: Tensor | None


class QwenTower(VisionTower):
    """See the module's text; `QwenVision` says in what the three differ."""

    def __init__(self, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(config, geometry, dtype, device)
        assert isinstance(config.vision, QwenVision), "the registry goes by architecture"
        self.vision = vision = config.vision
        self.square = vision.patches.merge**2
        self.projection = PatchProjection(vision, dtype, device)
        side = vision.position_side
        self.positions = LearnedPositions(side, vision.width_in, dtype, device) if side else None
        self.blocks = nn.ModuleList(Block(index, vision, dtype, device) for index in range(vision.layers))
        plain = ("visual.merger.ln_q", "visual.merger.mlp.0", "visual.merger.mlp.2")
        names = merger_names("visual.merger") if side else plain
        self.merger = Merger(names, vision, False, dtype, device)
        self.stacked = nn.ModuleList(
            Merger(merger_names(f"visual.deepstack_merger_list.{level}"), vision, True, dtype, device)
            for level in range(vision.deep_stack)
        )

    @classmethod
    def from_config(
        cls, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device
    ) -> QwenTower:
        return cls(config, geometry, dtype, torch.device(device))

    def pixels(self, picture: Image) -> Pixels:
        shape = self.geometry.shape(picture.width, picture.height)
        patches = self.processor(picture)["pixel_values"]
        # All frames of a picture are the same: one is enough.
        frame = patches.reshape(patches.shape[0], 3, self.vision.patches.frames, -1)[:, :, 0]
        assert frame.shape[0] == shape.tokens * self.square, "geometry and image processor have the same settings"
        return Pixels(torch.from_numpy(as_bytes(frame)), shape)

    def blank(self, shape: ImageShape) -> Pixels:
        return Pixels(
            torch.zeros((shape.tokens * self.square, 3, self.vision.patches.side**2), dtype=torch.uint8), shape
        )

    def encode(self, inputs: Sequence[Pixels]) -> list[Tensor]:
        grids = [pixels.shape.grid for pixels in inputs]
        parts = [self.patch_grid(grid) for grid in grids]
        layout = self.layout(parts)
        patches = torch.cat([pixels.values.to(self.device, non_blocking=True) for pixels in inputs])
        if layout.order is not None:
            patches = patches.view(-1, self.square, *patches.shape[1:]).index_select(0, layout.order).flatten(0, 1)
        x: Tensor = self.projection(self.normalise(patches).flatten(1))
        if self.positions is not None:
            entries, weights = self.taps(grids, parts)
            x = x + self.positions(entries, weights).to(x.dtype)
        residual: Tensor | None = None
        levels: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            whole = not self.vision.window or index in self.vision.whole_layers
            x, residual = block(x, residual, layout.rope, layout.tokens, layout.pictures if whole else layout.windows)
            if index in self.vision.stacked_layers:
                levels.append(self.stacked[len(levels)](x + residual))
        features = torch.cat([self.merger(x if residual is None else x + residual), *levels], dim=1)
        if layout.restored is not None:
            features = features.index_select(0, layout.restored)
        return list(torch.split(features, [pixels.shape.tokens for pixels in inputs]))

    def patch_grid(self, grid: Grid) -> PatchGrid:
        patches = self.vision.patches
        return patch_grid(grid[1], grid[2], patches.merge, self.vision.window // (patches.side * patches.merge))

    def layout(self, parts: Sequence[PatchGrid]) -> Layout:
        sizes = [part.rows.size for part in parts]
        firsts = np.cumsum([0, *sizes]) // self.square
        order = restored = None
        if self.vision.window:
            orders = [part.order + first for part, first in zip(parts, firsts[:-1], strict=True)]
            joined = np.concatenate(orders)
            order, restored = self.send(joined), self.send(np.argsort(joined))
        pictures = Segments.of(sizes, self.device)
        windows = [patches for part in parts for patches in part.windows]
        return Layout(
            tokens=torch.arange(sum(sizes), device=self.device),
            rope=self.rope(parts),
            pictures=pictures,
            windows=Segments.of(windows, self.device) if windows else pictures,
            order=order,
            restored=restored,
        )

    def rope(self, parts: Sequence[PatchGrid]) -> Tensor:
        """float32 [T, 2, head_dim]: the first half of a head's pairs turns with the row, the second with the column."""
        half = self.vision.width_in // self.vision.heads // 2
        exponents = torch.arange(0, half, 2, dtype=torch.float32, device=self.device) / half
        frequencies = self.vision.rope_theta**-exponents
        rows, columns = (
            self.send(np.concatenate([getattr(part, axis) for part in parts])) for axis in ("rows", "columns")
        )
        angles = torch.cat((torch.outer(rows.float(), frequencies), torch.outer(columns.float(), frequencies)), dim=1)
        cosines, sines = angles.cos(), angles.sin()
        return torch.stack((torch.cat((cosines, cosines), 1), torch.cat((-sines, sines), 1)), dim=1)

    def taps(self, grids: Sequence[Grid], parts: Sequence[PatchGrid]) -> tuple[Tensor, Tensor]:
        """Which learned positions each patch mixes (int64 [4, T]), and how much of each (float32 [4, T])."""
        merge, side = self.vision.patches.merge, self.vision.position_side
        entries, weights = [], []
        for (_, rows, columns), part in zip(grids, parts, strict=True):
            at_rows, of_rows = interpolated(part.rows, rows * merge, side)
            at_columns, of_columns = interpolated(part.columns, columns * merge, side)
            entries.append((at_rows[:, :, None] * side + at_columns[:, None, :]).reshape(-1, 4).T)
            weights.append((of_rows[:, :, None] * of_columns[:, None, :]).reshape(-1, 4).T)
        return self.send(np.concatenate(entries, axis=1)), self.send(np.concatenate(weights, axis=1))

    def send(self, array: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, non_blocking=True)


def merger_names(name: str) -> tuple[str, str, str]:
    """Of norm and the two matrices, in Qwen3-VL's checkpoints."""
    return f"{name}.norm", f"{name}.linear_fc1", f"{name}.linear_fc2"
