"""Grouped-query self-attention over a paged KV cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..checkpoint import ModelConfig
from ..kernels.paged_decode_attention import paged_decode_attention
from ..kernels.paged_prefill_attention import paged_prefill_attention
from ..kernels.rotary_kv import rotary_kv
from .batch import Batch
from .linear import ColumnLinear, Columns, RowLinear
from .norm import RmsNorm
from .parallel import TensorParallel
from .weights import Layer, Weight, part_of


class Attention(Layer):
    """x, residual [T, hidden] -> two tensors whose sum is s + attention(norm(s)), where s = x + residual.

    See `RowLinear.onto`. Writes the new tokens' keys and values into their pages. With `narrow` what comes out is of
    the batch's output rows alone: [O, hidden].

    `name` is the checkpoint's prefix, such as "model.layers.0.self_attn". Query and key norms (Qwen3) are weights of
    this layer, as the rotary kernel applies them.
    """

    def __init__(
        self, name: str, config: ModelConfig, tp: TensorParallel, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        self.name = name
        self.head_dim = head_dim = config.head_dim
        self.eps, self.scale = config.rms_eps, config.head_dim**-0.5
        heads = scaled(tp.share(config.heads, "attention heads"), head_dim)
        kv_heads = scaled(tp.kv_share(config.kv_heads), head_dim)
        self.qkv = ColumnLinear(
            [
                Columns(f"{name}.q_proj", config.heads * head_dim, heads),
                Columns(f"{name}.k_proj", config.kv_heads * head_dim, kv_heads),
                Columns(f"{name}.v_proj", config.kv_heads * head_dim, kv_heads),
            ],
            config.hidden,
            config.qkv_bias,
            config.quantization,
            dtype,
            device,
        )
        self.out = RowLinear(
            f"{name}.o_proj",
            config.hidden,
            config.heads * head_dim,
            heads,
            config.o_bias,
            tp,
            config.quantization,
            dtype,
            device,
        )
        self.q_norm = torch.empty(head_dim, dtype=dtype, device=device) if config.qk_norm else None
        self.k_norm = torch.empty(head_dim, dtype=dtype, device=device) if config.qk_norm else None

    def weights(self) -> Iterator[Weight]:
        if self.q_norm is not None and self.k_norm is not None:
            yield Weight(f"{self.name}.q_norm.weight", (self.head_dim,), part_of(self.q_norm, slice(None)))
            yield Weight(f"{self.name}.k_norm.weight", (self.head_dim,), part_of(self.k_norm, slice(None)))

    def forward(
        self,
        norm: RmsNorm,
        x: Tensor,
        residual: Tensor | None,
        rope: Tensor,
        batch: Batch,
        kv: tuple[Tensor, Tensor],
        narrow: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        keys, values = kv
        qkv, total = self.qkv.after(norm, x, residual)
        q = rotary_kv(qkv, rope, keys, values, batch.slot_pages, self.q_norm, self.k_norm, self.eps)
        if narrow:
            q, total = q.index_select(0, batch.output_rows), total.index_select(0, batch.output_rows)
            batch = batch.narrowed()
        mixed = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        decodes = batch.decode_rows
        if decodes:
            assert batch.decode_page_table is not None, "decode rows have a page table"
            assert batch.decode_lengths is not None, "decode rows have lengths"
            paged_decode_attention(
                q[:decodes],
                keys,
                values,
                batch.decode_page_table,
                batch.decode_lengths,
                self.scale,
                mixed[:decodes],
                batch.decode_prefixes,
                batch.shared,
            )
        if decodes < q.shape[0]:
            assert batch.prefill_page_table is not None, "prefill rows have a page table"
            assert batch.prefill_starts is not None, "prefill rows have starts"
            assert batch.prefill_lengths is not None, "prefill rows have lengths"
            paged_prefill_attention(
                q[decodes:],
                keys,
                values,
                batch.prefill_page_table,
                batch.prefill_starts,
                batch.prefill_lengths,
                self.scale,
                mixed[decodes:],
            )
        return self.out.onto(mixed.view(mixed.shape[0], -1), total)


def scaled(part: slice, factor: int) -> slice:
    """The rows of a range of heads."""
    return slice(part.start * factor, part.stop * factor)
