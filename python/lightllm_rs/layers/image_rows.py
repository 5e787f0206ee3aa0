"""The tokens of a batch that stand for pictures: rows of features in place of embeddings.

Features are [N, hidden * levels], in the model's dtype. The first level stands in place of the token's embedding, each
further one is added after one more of the first layers (deep-stack). Tensor parallel ranks other than 0 have none:
their part of the sum over the ranks is zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class ImageRows(ABC):
    """Changes x [T, hidden], a rank's part of a sum, in place."""

    @abstractmethod
    def place(self, x: Tensor) -> None:
        """Put the first level in place of the embeddings x."""

    @abstractmethod
    def add(self, x: Tensor, layer: int) -> None:
        """Add the level of layer number `layer`, where there is one, to what follows that layer."""


def level(features: Tensor | None, hidden: int, number: int) -> Tensor | None:
    """[N, hidden]; None beyond the last level, and on ranks without features."""
    if features is None or number * hidden >= features.shape[1]:
        return None
    return features[:, number * hidden : (number + 1) * hidden]


@dataclass(frozen=True)
class IndexedRows(ImageRows):
    """tokens: int64 [N], indices of tokens of the batch, ascending. features: of these tokens."""

    tokens: Tensor
    features: Tensor | None

    def place(self, x: Tensor) -> None:
        if (first := level(self.features, x.shape[1], 0)) is None:
            x.index_fill_(0, self.tokens, 0.0)
        else:
            x.index_copy_(0, self.tokens, first)

    def add(self, x: Tensor, layer: int) -> None:
        if (added := level(self.features, x.shape[1], layer + 1)) is not None:
            x.index_add_(0, self.tokens, added)


@dataclass(frozen=True)
class MaskedRows(ImageRows):
    """For captured graphs, whose shapes are fixed: all tokens from number `start` on have room for features.

    mask: bool [T - start, 1], which of them stand for pictures. features: [T - start, hidden * levels]; anything where
    they do not.
    """

    start: int
    mask: Tensor
    features: Tensor | None

    def place(self, x: Tensor) -> None:
        rows = x[self.start :]
        if (first := level(self.features, x.shape[1], 0)) is None:
            rows.masked_fill_(self.mask, 0.0)
        else:
            rows.copy_(torch.where(self.mask, first, rows))

    def add(self, x: Tensor, layer: int) -> None:
        if (added := level(self.features, x.shape[1], layer + 1)) is not None:
            rows = x[self.start :]
            rows.copy_(torch.where(self.mask, rows + added, rows))
