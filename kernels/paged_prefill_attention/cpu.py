"""Paged prefill attention on a CPU: torch's fused attention, row by row, over the gathered pages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def paged_prefill_attention_cpu(
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
        new = last - first
        if not new:
            continue
        pages = page_table[row, : -(-length // page_size)]
        # [kv_heads, group, tokens, head_dim]: kv heads as the batch, so that a group shares its keys without a copy.
        keys = k_cache.index_select(0, pages).to(q.dtype)
        values = v_cache.index_select(0, pages).to(q.dtype)
        keys = keys.view(1, -1, kv_heads, head_dim)[:, :length].permute(2, 0, 1, 3)
        values = values.view(1, -1, kv_heads, head_dim)[:, :length].permute(2, 0, 1, 3)
        shared = (kv_heads, group, length, head_dim)
        query = q[first:last].view(new, kv_heads, group, head_dim).permute(1, 2, 0, 3)
        mask = None
        if 1 < new < length:
            mask = torch.ones(new, length, dtype=torch.bool).tril_(length - new)
        mixed = F.scaled_dot_product_attention(
            query,
            keys.expand(shared),
            values.expand(shared),
            attn_mask=mask,
            is_causal=new == length and new > 1,
            scale=scale,
        )
        out[first:last] = mixed.permute(2, 0, 1, 3).reshape(new, -1, head_dim)
    return out
