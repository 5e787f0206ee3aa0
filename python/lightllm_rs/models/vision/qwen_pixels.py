"""What transformers' image processor of Qwen's models does, in two halves: Pillow resizes, the tower's device does the
rest. A picture travels in bytes, not in float32 patches, which take four times as long to make as to resize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


class QwenPixels:
    """Of a geometry's settings, for a tower of `dtype` on `device`."""

    def __init__(self, settings: dict[str, Any], dtype: torch.dtype, device: torch.device) -> None:
        self.side, self.merge = settings["patch_size"], settings["merge_size"]
        self.resample = settings["resample"]
        self.dtype, self.device = dtype, device
        factor = settings["rescale_factor"] if settings["do_rescale"] else 1.0
        mean, deviation = np.zeros(3), np.ones(3)
        if settings["do_normalize"]:
            mean, deviation = np.array(settings["image_mean"]), np.array(settings["image_std"])
        self.scale, self.shift = self.of_colours(factor / deviation), self.of_colours(-mean / deviation)

    def of_colours(self, values: np.ndarray[Any, Any]) -> Tensor:
        """float32 [3 * side * side]: a number for each colour, as patches have them."""
        return torch.from_numpy(values.astype(np.float32)).repeat_interleave(self.side**2).to(self.device)

    def resized(self, picture: Image, height: int, width: int) -> Tensor:
        """uint8 [height, width, 3]. On the CPU, in any thread."""
        return torch.from_numpy(np.array(picture.resize((width, height), self.resample)))

    def cut(self, pictures: Sequence[Tensor]) -> Tensor:
        """uint8 [T, 3 * side * side] on the device: the patches of resized pictures, square of neighbours by square."""
        return torch.cat([self.patches(picture.to(self.device, non_blocking=True)) for picture in pictures])

    def patches(self, picture: Tensor) -> Tensor:
        high, wide, colours = picture.shape
        square = self.side * self.merge
        parts = picture.view(high // square, self.merge, self.side, wide // square, self.merge, self.side, colours)
        return parts.permute(0, 3, 1, 4, 6, 2, 5).reshape(-1, colours * self.side**2)

    def normalised(self, patches: Tensor) -> Tensor:
        """(bytes * factor - mean) / deviation, rounded to the tower's dtype once."""
        return patches.float().mul_(self.scale).add_(self.shift).to(self.dtype)
