"""Causal attention of the new tokens of several rows, each over its own pages."""

from __future__ import annotations

from torch import Tensor

from .cpu import paged_prefill_attention_cpu

__all__ = ["paged_prefill_attention"]


def paged_prefill_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    starts: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
) -> Tensor:
    """softmax(scale * q K^T) V, each token over its row's tokens up to itself: [tokens, heads, head_dim].

    q: [tokens, heads, head_dim], the rows one after the other. k_cache, v_cache: [pages, page_size, kv_heads,
    head_dim], where the new tokens' keys and values already are. page_table: int32 [rows, width]. starts: int32
    [rows + 1], first token of each row in q. lengths: int32 [rows], tokens of the row in the cache, the new ones (its
    last) included.
    """
    if q.is_cuda:
        from .kernel import paged_prefill_attention_triton

        return paged_prefill_attention_triton(q, k_cache, v_cache, page_table, starts, lengths, scale, out)
    return paged_prefill_attention_cpu(q, k_cache, v_cache, page_table, starts, lengths, scale, out)
