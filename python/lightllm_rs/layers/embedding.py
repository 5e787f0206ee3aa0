"""Token embedding and output head, both divided over the ranks by vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .matrix import Matrix
from .parallel import TensorParallel
from .weights import Layer, Weight


class VocabularyShare:
    """This rank's ids: [start, stop). Every rank has `rows` rows, the last ones padding where they do not divide."""

    def __init__(self, vocab: int, tp: TensorParallel) -> None:
        self.vocab = vocab
        self.rows = -(-vocab // tp.world)
        self.start = min(tp.rank * self.rows, vocab)
        self.stop = min(self.start + self.rows, vocab)

    def store(self, target: Tensor, source: Tensor) -> None:
        """Copy this rank's rows; the padding is zero."""
        count = self.stop - self.start
        target[:count].copy_(source[self.start : self.stop])
        target[count:].zero_()


class Embedding(Layer):
    """token ids [T] -> this rank's part of [T, hidden]: zero but for its own ids."""

    def __init__(
        self, name: str, vocab: int, hidden: int, tp: TensorParallel, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        self.name, self.tp = name, tp
        self.share = VocabularyShare(vocab, tp)
        self.weight = torch.empty(self.share.rows, hidden, dtype=dtype, device=device)

    def weights(self) -> Iterator[Weight]:
        shape = (self.share.vocab, self.weight.shape[1])
        yield Weight(f"{self.name}.weight", shape, lambda source: self.share.store(self.weight, source))

    def forward(self, token_ids: Tensor) -> Tensor:
        if self.tp.world == 1:
            return F.embedding(token_ids, self.weight)
        local = token_ids - self.share.start
        elsewhere = (local < 0) | (local >= self.share.rows)
        rows = F.embedding(local.masked_fill(elsewhere, 0), self.weight)
        return rows.masked_fill_(elsewhere[:, None], 0.0)


class Head(Layer):
    """hidden [T, hidden] -> logits [T, vocab], gathered over the ranks. Tied: `embedding`'s weight is used."""

    def __init__(
        self,
        name: str,
        vocab: int,
        hidden: int,
        tp: TensorParallel,
        dtype: torch.dtype,
        device: torch.device,
        embedding: Embedding | None,
    ) -> None:
        super().__init__()
        self.name, self.hidden, self.tp = name, hidden, tp
        self.share = VocabularyShare(vocab, tp)
        self.tied = embedding is not None
        self.matrix = Matrix(0 if self.tied else self.share.rows, hidden, False, dtype, device)
        if embedding is not None:
            self.matrix.weight = embedding.weight

    def weights(self) -> Iterator[Weight]:
        if self.tied:
            return
        weight = self.matrix.weight
        assert weight is not None, "weights are asked for before packing"
        yield Weight(
            f"{self.name}.weight", (self.share.vocab, self.hidden), lambda source: self.share.store(weight, source)
        )

    def finish(self) -> None:
        self.matrix.pack()

    def forward(self, hidden: Tensor) -> Tensor:
        return self.tp.all_gather_last(self.matrix(hidden))[:, : self.share.vocab]
