"""Paged prefill attention in plain torch, float32, one row at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def paged_prefill_attention_reference(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    starts: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
) -> Tensor:
    """See `paged_prefill_attention`."""
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device) if out is None else out
    page_size, kv_heads, head_dim = k_cache.shape[1:]
    group = q.shape[1] // kv_heads
    bounds = starts.tolist()
    for row, length in enumerate(lengths.tolist()):
        first, last = bounds[row], bounds[row + 1]
        pages = page_table[row, : -(-length // page_size)].long()
        keys = k_cache[pages].reshape(-1, kv_heads, head_dim)[:length].float()
        values = v_cache[pages].reshape(-1, kv_heads, head_dim)[:length].float()
        query = q[first:last].float().view(last - first, kv_heads, group, head_dim)
        scores = torch.einsum("thgd,lhd->hgtl", query, keys) * scale
        position = torch.arange(length - (last - first), length, device=q.device)
        scores.masked_fill_(torch.arange(length, device=q.device) > position[:, None], float("-inf"))
        mixed = torch.einsum("hgtl,lhd->thgd", torch.softmax(scores, dim=-1), values)
        out[first:last] = mixed.reshape(last - first, q.shape[1], head_dim).to(q.dtype)
    return out
