"""What transformers' image processor of Qwen's models does: Pillow resizes, the tower's device does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


class QwenPixels:
    """Of a geometry's settings, but for what `Normalise` does."""

    def __init__(self, settings: dict[str, Any], device: torch.device) -> None:
        self.side, self.merge = settings["patch_size"], settings["merge_size"]
        self.resample = settings["resample"]
        self.device = device

    def resized(self, picture: Image, height: int, width: int) -> Tensor:
        """uint8 [height, width, 3]. On the CPU, in any thread."""
        return torch.from_numpy(np.array(picture.resize((width, height), self.resample)))

    def cut(self, pictures: Sequence[Tensor]) -> Tensor:
        """uint8 [T, 3, side * side] on the device: the patches of resized pictures, square of neighbours by square."""
        return torch.cat([self.patches(picture.to(self.device, non_blocking=True)) for picture in pictures])

    def patches(self, picture: Tensor) -> Tensor:
        high, wide, colours = picture.shape
        square = self.side * self.merge
        parts = picture.view(high // square, self.merge, self.side, wide // square, self.merge, self.side, colours)
        return parts.permute(0, 3, 1, 4, 6, 2, 5).reshape(-1, colours, self.side**2)
