"""Attention of one new token a row over the row's pages."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .cpu import paged_decode_attention_cpu
from .prefixes import SharedPrefixes

__all__ = ["SharedPrefixes", "paged_decode_attention"]


def paged_decode_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
    prefixes: SharedPrefixes | None = None,
    shared: dict[str, Any] | None = None,
) -> Tensor:
    """softmax(scale * q K^T) V over the first `lengths` tokens of each row: [rows, heads, head_dim] in q's dtype.

    q: [rows, heads, head_dim]. k_cache, v_cache: [pages, page_size, kv_heads, head_dim], where the new token's key and
    value already are. page_table: int32 [rows, width], entries past a row's last page are never read. lengths: int32
    [rows], the new token included; a row of length 0 gives zeros. Query head h reads kv head h // (heads / kv_heads).
    prefixes: what rows have in common, read once for all of them on CUDA; the result is the same without.
    shared: a dict that lives as long as the step; kept there is what is the same in every layer.
    On CUDA nothing is read back to the host, and the grid depends on shapes alone: the call can be captured in a graph.
    """
    if q.is_cuda:
        from .kernel import paged_decode_attention_triton

        return paged_decode_attention_triton(q, k_cache, v_cache, page_table, lengths, scale, out, prefixes, shared)
    return paged_decode_attention_cpu(q, k_cache, v_cache, page_table, lengths, scale, out, shared)
