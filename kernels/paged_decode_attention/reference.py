"""Paged decode attention in plain torch, float32, one row at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def paged_decode_attention_reference(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
) -> Tensor:
    """See `paged_decode_attention`."""
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device) if out is None else out
    page_size, kv_heads, head_dim = k_cache.shape[1:]
    group = q.shape[1] // kv_heads
    for row, length in enumerate(lengths.tolist()):
        pages = page_table[row, : -(-length // page_size)].long()
        keys = k_cache[pages].reshape(-1, kv_heads, head_dim)[:length].float()
        values = v_cache[pages].reshape(-1, kv_heads, head_dim)[:length].float()
        query = q[row].float().view(kv_heads, group, head_dim)
        weights = torch.softmax(torch.einsum("hgd,lhd->hgl", query, keys) * scale, dim=-1)
        out[row] = torch.einsum("hgl,lhd->hgd", weights, values).view(-1, head_dim).to(q.dtype)
    return out
