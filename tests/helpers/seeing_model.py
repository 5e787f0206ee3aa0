"""A language model that looks up the rows of synthetic token ids by itself, so that `ModelRunner` can drive it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lightllm_rs.layers.batch import Batch
from lightllm_rs.layers.image_rows import IndexedRows
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM
from lightllm_rs.vision import FIRST_SYNTHETIC, Span, synthetic_ids


class SeeingModel:
    """`model` and the features of its pictures, by synthetic id. Without positions of three axes."""

    def __init__(self, model: CausalLM) -> None:
        self.model = model
        self.rows: dict[int, Tensor] = {}

    def show(self, spans: Iterable[Span], features: Iterable[Tensor]) -> None:
        """The features [tokens, width] of each span."""
        for span, rows in zip(spans, features, strict=True):
            self.rows.update(zip(synthetic_ids(span.key, span.tokens), rows, strict=True))

    def kv_shape(self) -> tuple[int, int, int]:
        return self.model.kv_shape()

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.logits(hidden)

    def __call__(self, batch: Batch, kv: KvCache) -> Tensor:
        (tokens,) = (batch.token_ids >= FIRST_SYNTHETIC).nonzero(as_tuple=True)
        if len(tokens):
            features = torch.stack([self.rows[token] for token in batch.token_ids[tokens].tolist()])
            batch.images = IndexedRows(tokens, features)
            batch.token_ids = batch.token_ids.index_fill(0, tokens, 0)
        hidden: Tensor = self.model(batch, kv)
        return hidden
