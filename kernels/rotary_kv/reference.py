"""Rotary embedding and KV write in plain torch; also the CPU path."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fp8 import FP8, to_fp8


def rotary_kv_reference(
    qkv: Tensor,
    rope: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    slots: Tensor,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    eps: float = 0.0,
) -> Tensor:
    """See `rotary_kv`. The arithmetic is float32; the queries returned are a strided view."""
    kv_heads, head_dim = k_cache.shape[2:]
    rows = qkv.view(qkv.shape[0], -1, head_dim)
    heads = rows.shape[1] - 2 * kv_heads
    wide = rows[:, : heads + kv_heads].float()
    if q_norm is not None and k_norm is not None:
        weights = torch.cat((q_norm.expand(heads, head_dim), k_norm.expand(kv_heads, head_dim))).float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * weights
    # Rolling by half a head puts each element of a rotary pair where its partner is.
    rotated = torch.addcmul(wide * rope[:, 0:1], wide.roll(head_dim // 2, -1), rope[:, 1:2]).to(qkv.dtype)
    keys, values = rotated[:, heads:], rows[:, heads + kv_heads :]
    kept = slots >= 0
    if not bool(kept.all()):
        keys, values, slots = keys[kept], values[kept], slots[kept]
    if k_cache.dtype == FP8:
        # As bytes: not every operation knows 8-bit floats.
        keys, values = to_fp8(keys).view(torch.uint8), to_fp8(values).view(torch.uint8)
        k_cache, v_cache = k_cache.view(torch.uint8), v_cache.view(torch.uint8)
    k_cache.view(-1, kv_heads, head_dim).index_copy_(0, slots, keys)
    v_cache.view(-1, kv_heads, head_dim).index_copy_(0, slots, values)
    return rotated[:, :heads]
