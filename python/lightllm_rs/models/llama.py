"""Llama 2, 3, 3.1 and models of the same arithmetic (SmolLM2).

x = embedding; per layer x += attention(norm(x)), x += mlp(norm(x)); logits = head(norm(x)). The additions are fused
into the norm that follows them, so a layer passes (what to add, sum so far) on; what to add is one tensor parallel
rank's part of it, which the norm sums over the ranks. With few rows and one rank the addition is fused into the product
before it, as the norm is into the product after it: then a layer passes (sum, None) on.

Of most tokens of a prompt nothing is wanted but their keys and values. So the last layer goes on with the output rows
alone once these are written: of a long prompt that is one layer's products less.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..checkpoint import ModelConfig
from ..layers.attention import Attention
from ..layers.batch import Batch
from ..layers.embedding import Embedding, Head
from ..layers.kv_cache import KvCache
from ..layers.mlp import GatedMlp
from ..layers.norm import RmsNorm
from ..layers.parallel import TensorParallel
from ..layers.rotary import Rotary
from .base import CausalLM

# Turns of the norms, so that no two in a row are the same, those of one pass and of the next included.
FIRST_TURN, MLP_TURN, ATTENTION_TURN = range(3)


class LlamaLayer(nn.Module):
    """Layer `index`; its tensors' names begin with `model.layers.{index}`."""

    def __init__(
        self, index: int, config: ModelConfig, tp: TensorParallel, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        name = f"model.layers.{index}"
        size, eps = config.hidden, config.rms_eps
        self.attention_norm = RmsNorm(
            f"{name}.input_layernorm", size, eps, dtype, device, tp, FIRST_TURN if index == 0 else ATTENTION_TURN
        )
        self.attention = Attention(f"{name}.self_attn", config, tp, dtype, device)
        self.mlp_norm = RmsNorm(f"{name}.post_attention_layernorm", size, eps, dtype, device, tp, MLP_TURN)
        self.mlp = GatedMlp(f"{name}.mlp", config, tp, dtype, device)

    def forward(
        self,
        x: Tensor,
        residual: Tensor | None,
        rope: Tensor,
        batch: Batch,
        kv: tuple[Tensor, Tensor],
        narrow: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        x, residual = self.attention(self.attention_norm, x, residual, rope, batch, kv, narrow)
        out: tuple[Tensor, Tensor | None] = self.mlp(self.mlp_norm, x, residual)
        return out


class Llama(CausalLM):
    """See the module's text."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device, tp: TensorParallel) -> None:
        super().__init__(config, tp)
        self.embedding = Embedding("model.embed_tokens", config.vocab, config.hidden, tp, dtype, device)
        self.rotary = Rotary(config, device)
        self.layers = nn.ModuleList(LlamaLayer(index, config, tp, dtype, device) for index in range(config.layers))
        self.norm = RmsNorm("model.norm", config.hidden, config.rms_eps, dtype, device, tp, ATTENTION_TURN)
        tied = self.embedding if config.tie_embeddings else None
        self.head = Head("lm_head", config.vocab, config.hidden, tp, dtype, device, tied)
        # Not where features of pictures are added after the last layer too.
        self.may_narrow = config.vision is None or config.vision.width(config.hidden) <= config.layers * config.hidden

    @classmethod
    def from_config(cls, config: ModelConfig, dtype: torch.dtype, device: torch.device, tp: TensorParallel) -> Llama:
        return cls(config, dtype, torch.device(device), tp)

    def forward(self, batch: Batch, kv: KvCache) -> Tensor:
        x = self.embedding(batch.token_ids)
        images = batch.images
        if images is not None:
            images.place(x)
        rope = self.rotary(batch.positions)
        residual: Tensor | None = None
        narrow, last = batch.narrows and self.may_narrow, len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            x, residual = layer(x, residual, rope, batch, kv.layer(index), narrow and index == last)
            if images is not None and not (narrow and index == last):
                images.add(x, index)
        if not narrow:
            rows = batch.output_rows
            x, residual = x[rows], None if residual is None else residual[rows]
        hidden: Tensor = self.norm(x, residual)[0]
        return hidden

    def raw_logits(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.head(hidden)
        return out
