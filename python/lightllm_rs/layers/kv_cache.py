"""The paged KV cache of one rank."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


class KvCache:
    """k[layer], v[layer]: [pages, page_size, heads, head_dim]. Pages hold zeros until they are written.

    dtype: the activations', or e4m3 (keys and values rounded to it as they are, with no scale).
    """

    def __init__(
        self,
        layers: int,
        pages: int,
        page_size: int,
        heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        shape = (layers, pages, page_size, heads, head_dim)
        self.pages, self.page_size = pages, page_size
        self.k = zeros(shape, dtype, torch.device(device))
        self.v = zeros(shape, dtype, torch.device(device))
        # Views made once: on a CPU, making them in every layer of every step shows.
        self.views = list(zip(self.k.unbind(), self.v.unbind(), strict=True))

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """(keys, values) of one layer."""
        return self.views[index]

    def copy_pages(self, source: Tensor, target: Tensor) -> None:
        """Copy pages in every layer; `source` and `target` are int64 [n], and no page is in both."""
        for cache in (self.k, self.v):
            # Bytes where elements are bytes: not every operation knows 8-bit floats.
            plain = cache.view(torch.uint8) if cache.dtype.itemsize == 1 else cache
            plain[:, target] = plain[:, source]

    @staticmethod
    def page_bytes(layers: int, page_size: int, heads: int, head_dim: int, dtype: torch.dtype) -> int:
        """Bytes of one page over all layers, keys and values."""
        return 2 * layers * page_size * heads * head_dim * dtype.itemsize


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """`torch.zeros`, but on a CPU memory is taken only as it is written, so that a start need not wait for it."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    untouched = np.zeros(math.prod(shape), dtype=f"i{dtype.itemsize}")
    return torch.from_numpy(untouched).view(dtype).view(shape)
