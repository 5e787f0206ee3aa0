"""Bytes of pictures to the numbers that a tower computes on, on its device. On the host, the float64 and float32 copies
that transformers makes of a picture take longer than to decode and to resize it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Normalise:
    """(bytes * factor - mean) / deviation by a geometry's settings, rounded to `dtype` once."""

    def __init__(self, settings: dict[str, Any], dtype: torch.dtype, device: torch.device) -> None:
        factor = settings["rescale_factor"] if settings["do_rescale"] else 1.0
        means, deviations = [0.0] * 3, [1.0] * 3
        if settings["do_normalize"]:
            means, deviations = settings["image_mean"], settings["image_std"]
        pairs = list(zip(means, deviations, strict=True))
        self.scale = torch.tensor([factor / deviation for _, deviation in pairs], device=device)
        self.shift = torch.tensor([-mean / deviation for mean, deviation in pairs], device=device)
        self.dtype = dtype

    def __call__(self, values: Tensor) -> Tensor:
        """uint8 [N, 3, ...], on the device -> the same shape in the tower's dtype."""
        shape = (3, *[1] * (values.dim() - 2))
        return values.float().mul_(self.scale.view(shape)).add_(self.shift.view(shape)).to(self.dtype)
