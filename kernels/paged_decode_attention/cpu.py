"""Paged decode attention on a CPU: the pages are gathered and torch's fused attention runs over all rows at once.

The query heads that share a kv head stand in the place of query positions, so each key is read once for all of them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows are padded to the longest as long as that at most doubles the work; beyond, one call a row is cheaper.
MAX_PADDING = 2


def paged_decode_attention_cpu(
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
    sizes: list[int] = lengths.tolist()
    longest = max(sizes, default=0)
    if not longest:
        return out.zero_()
    if len(sizes) * longest <= MAX_PADDING * sum(sizes):
        uneven = lengths if min(sizes) != longest else None
        out.copy_(attend(q, k_cache, v_cache, page_table, uneven, longest, scale))
        return out.masked_fill_((lengths == 0)[:, None, None], 0.0) if min(sizes) == 0 else out
    for row, size in enumerate(sizes):
        if size:
            part = slice(row, row + 1)
            out[part] = attend(q[part], k_cache, v_cache, page_table[part], None, size, scale)
        else:
            out[row] = 0.0
    return out


def attend(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, page_table: Tensor, lengths: Tensor | None, longest: int, scale: float
) -> Tensor:
    """Attention of rows of which the longest has `longest` tokens; `lengths` is None where all have that many."""
    rows, heads, head_dim = q.shape
    page_size, kv_heads, _ = k_cache.shape[1:]
    pages = page_table[:, : -(-longest // page_size)]
    mask = None
    if lengths is not None:
        past = torch.arange(longest) >= lengths[:, None]
        # A finite minimum: a row of length 0 must not make a NaN on its way to being zeroed.
        mask = torch.zeros(past.shape, dtype=q.dtype).masked_fill_(past, torch.finfo(q.dtype).min)[:, None, None]
        # A shorter row's table may hold anything past its last page.
        pages = pages.clamp(0, k_cache.shape[0] - 1)
    index = pages.reshape(-1)
    keys = k_cache.index_select(0, index).view(rows, -1, kv_heads, head_dim)
    values = v_cache.index_select(0, index).view(rows, -1, kv_heads, head_dim)
    if lengths is not None:
        # Past a row's length a page may hold NaN, which no mask takes away.
        stale = (torch.arange(keys.shape[1]) >= lengths[:, None]).view(-1).nonzero().view(-1)
        keys.view(-1, kv_heads * head_dim).index_fill_(0, stale, 0.0)
        values.view(-1, kv_heads * head_dim).index_fill_(0, stale, 0.0)
    keys, values = keys[:, :longest].transpose(1, 2), values[:, :longest].transpose(1, 2)
    query = q.reshape(rows, kv_heads, heads // kv_heads, head_dim)
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scale).reshape(
        rows, heads, head_dim
    )
