"""`ModelConfig`: one description of a decoder-only model, whatever file it was read from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import CheckpointError, UnsupportedModel
from .quantization import Quantization
from .vision_config import MRope, VisionConfig


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's RoPE scaling: low frequencies are divided by `factor`, those between the two bounds are blended."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int


@dataclass(frozen=True)
class ModelConfig:
    """Shapes are those of the whole model (not of one tensor parallel rank).

    architecture: the Hugging Face class name, such as "LlamaForCausalLM".
    language: that of the language model, which this describes; it differs from `architecture` in a model that sees.
    rope_factors: divisors of the RoPE frequencies, head_dim / 2 of them (GGUF's rope_freqs tensor); None without.
    max_positions: longest context the model was made for, in tokens.
    end_ids: tokens that end a text, the union of what config, generation config and tokenizer name.
    sliding_window: attention reaches back this many tokens, None where it reaches back to the start.
    dtype: the dtype in which the weights were published, None where the file does not say.
    quantization: of the weights; None: they are as wide as the arithmetic, or dequantised when read (GGUF).
    mrope: rotary positions have three axes; None: one.
    vision: the part that sees; None in a model of text.
    """

    architecture: str
    language: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_positions: int
    rms_eps: float
    rope_theta: float
    rope_scaling: Llama3Scaling | None = None
    rope_factors: tuple[float, ...] | None = None
    tie_embeddings: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    bos_id: int | None = None
    end_ids: tuple[int, ...] = ()
    sliding_window: int | None = None
    dtype: str | None = None
    quantization: Quantization | None = None
    mrope: MRope | None = None
    vision: VisionConfig | None = None

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise CheckpointError(
                f"{self.heads} attention heads cannot be shared by {self.kv_heads} key/value heads: the config is wrong"
            )
        if self.head_dim % 2 or self.head_dim > 256:
            raise UnsupportedModel(f"head_dim {self.head_dim} is not supported: it must be even and at most 256")
        if self.rope_factors is not None:
            if len(self.rope_factors) != self.head_dim // 2:
                raise CheckpointError(f"{len(self.rope_factors)} RoPE factors for a head of {self.head_dim}")
            if not all(math.isfinite(factor) and factor > 0.0 for factor in self.rope_factors):
                raise CheckpointError("the RoPE factors must be positive numbers: the file is corrupt")
        if self.mrope is not None:
            self.mrope.check(self.head_dim)
        for token in (*self.end_ids, *(() if self.bos_id is None else (self.bos_id,))):
            if token >= self.vocab:
                raise CheckpointError(f"special token id {token} is outside the vocabulary of {self.vocab}")

    def context(self, wanted: int | None = None) -> int:
        """The context in tokens: `wanted`, or the longest that this model supports.

        Raises `CheckpointError` if `wanted` is more than that, `UnsupportedModel` if a sliding window would be active.
        """
        context = self.max_positions if wanted is None else wanted
        if context > self.max_positions:
            raise CheckpointError(
                f"a context of {context} tokens was asked for, but the model supports {self.max_positions}: "
                f"pass --max-model-len {self.max_positions} or less"
            )
        if self.sliding_window is not None and context > self.sliding_window:
            raise UnsupportedModel(
                f"sliding window attention ({self.sliding_window} tokens) is not supported: "
                f"pass --max-model-len {self.sliding_window} or less, where it has no effect"
            )
        return context


def merge_ids(*groups: Iterable[int]) -> tuple[int, ...]:
    """All ids, each once, in order of first appearance."""
    return tuple(dict.fromkeys(token for group in groups for token in group))
