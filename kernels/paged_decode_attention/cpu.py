"""Paged decode attention on a CPU: the pages are gathered and torch's fused attention runs over all rows at once.

The query heads that share a kv head stand in the place of query positions, so each key is read once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows are padded to the longest as long as that at most doubles the work; beyond, one call a row is cheaper.
MAX_PADDING = 2


@dataclass(frozen=True)
class Gather:
    """What to read for some rows at once, the same in every layer of a step.

    pages: int64 [rows * pages a row]. longest: tokens of the longest row. mask: additive [rows, 1, 1, longest], and
    stale: positions of the gathered rows that lie past their row's end; both None where all rows are equally long.
    """

    rows: slice
    pages: Tensor
    longest: int
    mask: Tensor | None
    stale: Tensor | None


def gathers(
    page_table: Tensor, lengths: Tensor, pages: int, page_size: int, dtype: torch.dtype
) -> tuple[list[Gather], Tensor | None]:
    """The gathers that cover all rows, and int64 indices of the rows of length 0 (None without)."""
    sizes: list[int] = lengths.tolist()
    longest = max(sizes, default=0)
    empty = (lengths == 0).nonzero().view(-1) if 0 in sizes else None
    if not longest:
        return [], empty
    if len(sizes) * longest > MAX_PADDING * sum(sizes):
        return [
            Gather(slice(row, row + 1), page_table[row, : -(-size // page_size)].long(), size, None, None)
            for row, size in enumerate(sizes)
            if size
        ], empty
    width = -(-longest // page_size)
    # A shorter row's table may hold anything past its last page.
    index = page_table[:, :width].clamp(0, pages - 1).reshape(-1).long()
    mask = stale = None
    if min(sizes) != longest:
        past = torch.arange(width * page_size) >= lengths[:, None]
        stale = past.view(-1).nonzero().view(-1)
        past = past[:, :longest]
        # A finite minimum: a row of length 0 must not make a NaN on its way to being zeroed.
        mask = torch.zeros(past.shape, dtype=dtype).masked_fill_(past, torch.finfo(dtype).min)[:, None, None]
    return [Gather(slice(0, len(sizes)), index, longest, mask, stale)], empty


def paged_decode_attention_cpu(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
    shared: dict[str, Any] | None = None,
) -> Tensor:
    """See `paged_decode_attention`."""
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device) if out is None else out
    pages, page_size = k_cache.shape[:2]
    found = None if shared is None else shared.get("decode gathers")
    if found is None:
        found = gathers(page_table, lengths, pages, page_size, q.dtype)
        if shared is not None:
            shared["decode gathers"] = found
    plan, empty = found
    for gather in plan:
        out[gather.rows] = attend(q[gather.rows], k_cache, v_cache, gather, scale)
    if empty is not None:
        out.index_fill_(0, empty, 0.0)
    return out


def attend(q: Tensor, k_cache: Tensor, v_cache: Tensor, gather: Gather, scale: float) -> Tensor:
    """Attention of the rows of one gather."""
    rows, heads, head_dim = q.shape
    kv_heads = k_cache.shape[2]
    keys = k_cache.index_select(0, gather.pages).to(q.dtype)
    values = v_cache.index_select(0, gather.pages).to(q.dtype)
    if gather.stale is not None:
        # Past a row's length a page may hold NaN, which no mask takes away.
        keys.view(-1, kv_heads * head_dim).index_fill_(0, gather.stale, 0.0)
        values.view(-1, kv_heads * head_dim).index_fill_(0, gather.stale, 0.0)
    query = q.reshape(rows, kv_heads, heads // kv_heads, head_dim)
    keys = keys.view(rows, -1, kv_heads, head_dim)[:, : gather.longest].transpose(1, 2)
    values = values.view(rows, -1, kv_heads, head_dim)[:, : gather.longest].transpose(1, 2)
    mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=gather.mask, scale=scale)
    return mixed.reshape(rows, heads, head_dim)
