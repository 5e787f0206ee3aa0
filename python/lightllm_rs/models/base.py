"""`CausalLM`: the base of all models."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..checkpoint import CheckpointError, ModelConfig, UnsupportedModel
from ..layers.batch import Batch
from ..layers.kv_cache import KvCache
from ..layers.parallel import TensorParallel
from ..layers.weights import Layer, Weight

# Buffers that older versions of transformers saved, and that are computed here.
IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)


class CausalLM(nn.Module):
    """A decoder-only model, one rank's part of it. A subclass builds its layers in `__init__` and defines `forward`,
    `logits`.

    Made in three steps: `from_config`, `load`, then any number of `forward` and `logits` under `torch.inference_mode`.
    """

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
        raise NotImplementedError

    def kv_shape(self) -> tuple[int, int, int]:
        """(layers, this rank's kv heads, head_dim) of the KV cache that `forward` needs."""
        heads = self.tp.kv_share(self.config.kv_heads)
        return self.config.layers, heads.stop - heads.start, self.config.head_dim

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and whole shape of every checkpoint tensor that the model wants; to be called before `load`."""
        return {name: weight.shape for name, weight in self.wanted().items()}

    def wanted(self) -> dict[str, Weight]:
        weights = [weight for module in self.modules() if isinstance(module, Layer) for weight in module.weights()]
        table = {weight.name: weight for weight in weights}
        assert len(table) == len(weights), "two layers want the same tensor"
        return table

    @torch.no_grad()
    def load(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Store each (Hugging Face name, whole tensor), in any order, then let the layers pack what they hold.

        Raises `CheckpointError` for a tensor that is missing, unexpected, given twice, or of another shape.
        """
        wanted = self.wanted()
        stored: set[str] = set()
        for name, tensor in tensors:
            if name.endswith(IGNORED_SUFFIXES) or (name == "lm_head.weight" and self.config.tie_embeddings):
                continue  # a tied head is the embedding, though some checkpoints repeat it
            weight = wanted.get(name)
            if weight is None:
                raise CheckpointError(f"unexpected tensor {name!r:.120}: the weights do not belong to this config")
            if name in stored:
                raise CheckpointError(f"tensor {name} is in the checkpoint twice")
            if tuple(tensor.shape) != weight.shape:
                raise CheckpointError(
                    f"tensor {name} has shape {list(tensor.shape)}, but the config says {list(weight.shape)}"
                )
            if weight.dtype is None and tensor.dtype.itemsize == 1:
                raise UnsupportedModel(f"tensor {name} is {tensor.dtype}, and quantization_config does not say so")
            if weight.dtype is not None and tensor.dtype != weight.dtype:
                raise CheckpointError(
                    f"tensor {name} is {tensor.dtype}, but quantization_config makes it {weight.dtype}"
                )
            weight.store(tensor)
            stored.add(name)
        missing = [name for name in wanted if name not in stored]
        if missing:
            some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise CheckpointError(f"{len(missing)} tensors are missing from the checkpoint: {some}")
        for module in self.modules():
            if isinstance(module, Layer):
                module.finish()
