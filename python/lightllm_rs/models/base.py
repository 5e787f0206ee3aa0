"""`CausalLM`: the base of all models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..checkpoint import ModelConfig
from ..layers.batch import Batch
from ..layers.kv_cache import KvCache
from ..layers.parallel import TensorParallel
from .loadable import Loadable

# Buffers that older versions of transformers saved, and that are computed here.
IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)


class CausalLM(Loadable):
    """A decoder-only model, one rank's part of it. A subclass builds its layers in `__init__` and defines `forward`,
    `raw_logits`.

    Made in three steps: `from_config`, `load`, then any number of `forward` and `logits` under `torch.inference_mode`.
    """

    layers: nn.ModuleList

    def __init__(self, config: ModelConfig, tp: TensorParallel) -> None:
        super().__init__()
        self.config = config
        self.tp = tp

    @classmethod
    def from_config(cls, config: ModelConfig, dtype: torch.dtype, device: torch.device, tp: TensorParallel) -> CausalLM:
        """The model with uninitialised weights. Raises `UnsupportedModel` where `tp` does not divide its shapes."""
        raise NotImplementedError

    def forward(self, batch: Batch, kv: KvCache) -> Tensor:
        """Final hidden states [O, hidden] of `batch.output_rows`; writes the new keys and values into `kv`."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [O, vocab] of hidden states [O, hidden], the same on every rank."""
        return self.raw_logits(hidden).float()

    def raw_logits(self, hidden: Tensor) -> Tensor:
        """`logits` as the product gave them, in the model's dtype: [O, vocab], each row without gaps."""
        raise NotImplementedError

    @contextmanager
    def outer_layers_only(self) -> Iterator[None]:
        """Within it `forward` runs the first layer and the last: enough to compile and load every kernel, as all
        between are like the first."""
        layers = self.layers
        self.layers = nn.ModuleList([*layers[:1], *layers[1:][-1:]])
        try:
            yield
        finally:
            self.layers = layers

    def kv_shape(self) -> tuple[int, int, int]:
        """(layers, this rank's kv heads, head_dim) of the KV cache that `forward` needs."""
        heads = self.tp.kv_share(self.config.kv_heads)
        return self.config.layers, heads.stop - heads.start, self.config.head_dim

    def ignored(self, name: str) -> bool:
        # A tied head is the embedding, though some checkpoints repeat it.
        return name.endswith(IGNORED_SUFFIXES) or (name == "lm_head.weight" and self.config.tie_embeddings)
