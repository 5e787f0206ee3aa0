"""Rotary embedding of queries and keys, fused with the write of keys and values into their pages."""

from __future__ import annotations

from torch import Tensor

from .reference import rotary_kv_reference

__all__ = ["rotary_kv"]


def rotary_kv(
    qkv: Tensor,
    rope: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    slots: Tensor,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    eps: float = 0.0,
) -> Tensor:
    """The rotated queries [T, heads, head_dim]; rotated keys and plain values go into the caches.

    qkv: [T, (heads + 2 * kv_heads) * head_dim], queries, keys, values.
    rope: float32 [T, 2, head_dim], the cosines and the sines, those of the first half negated (see layers/rotary.py).
    k_cache, v_cache: [pages, page_size, kv_heads, head_dim], in qkv's dtype or e4m3, where what is larger than 448
        becomes 448.
    slots: int64 [T], page * page_size + offset; a row with a negative slot is written nowhere.
    q_norm, k_norm: [head_dim], weights of an RMS norm over each head before the rotation (Qwen3), or both None.
    """
    if qkv.is_cuda:
        from .kernel import rotary_kv_triton

        return rotary_kv_triton(qkv, rope, k_cache, v_cache, slots, q_norm, k_norm, eps)
    return rotary_kv_reference(qkv, rope, k_cache, v_cache, slots, q_norm, k_norm, eps)
