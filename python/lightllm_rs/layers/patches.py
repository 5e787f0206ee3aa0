"""Square patches of an image as rows: what stands for the first convolution of a vision tower."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .weights import Layer, Weight, part_of


class PatchEmbedding(Layer):
    """pixels [N, channels, S, S] -> [N, (S // patch)^2, hidden], rows of patches from the top left.

    A convolution whose stride is its kernel is one matrix product of the patches; pixels that fill no patch are left
    out, as a convolution without padding does.
    """

    def __init__(
        self,
        name: str,
        hidden: int,
        channels: int,
        patch: int,
        bias: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.name, self.patch = name, patch
        self.weight = torch.empty(hidden, channels, patch, patch, dtype=dtype, device=device)
        self.bias = torch.empty(hidden, dtype=dtype, device=device) if bias else None

    def weights(self) -> Iterator[Weight]:
        yield Weight(f"{self.name}.weight", tuple(self.weight.shape), part_of(self.weight, slice(None)))
        if self.bias is not None:
            yield Weight(f"{self.name}.bias", tuple(self.bias.shape), part_of(self.bias, slice(None)))

    def forward(self, pixels: Tensor) -> Tensor:
        images, channels, height, width = pixels.shape
        rows, columns, patch = height // self.patch, width // self.patch, self.patch
        pixels = pixels[:, :, : rows * patch, : columns * patch]
        patches = pixels.reshape(images, channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
        flat = patches.reshape(images, rows * columns, channels * patch * patch)
        return F.linear(flat, self.weight.flatten(1), self.bias)
