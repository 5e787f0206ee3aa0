"""Rotary embedding and KV write in Triton.

For each head of a token, with halves a and b: a' = a cos - b sin, b' = b cos + a sin; values are copied. One program
takes BLOCK_H heads of one token, queries, keys and values alike, and sends each head where it belongs.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_floats, check_integers, check_stored, require
from ..dependent_launch import dependent_launch, start_next, wait_previous
from ..fp8 import FP8, LARGEST

BLOCK_H = 8


@triton.jit
def stored(x, LARGEST: tl.constexpr):
    """x without what the cache's dtype cannot hold; NaN stays."""
    if LARGEST > 0:
        x = tl.clamp(x, -LARGEST, LARGEST, propagate_nan=tl.PropagateNan.ALL)
    return x


# The slots are a slice of a step's array and begin anywhere: one compilation must serve every alignment.
@triton.jit(do_not_specialize_on_alignment=["slots_ptr"])
def rotary_kv_kernel(
    qkv_ptr,
    rope_ptr,
    q_ptr,
    k_ptr,
    v_ptr,
    slots_ptr,
    q_norm_ptr,
    k_norm_ptr,
    eps,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    NORM: tl.constexpr,
    LARGEST: tl.constexpr,  # of the caches' dtype where it must not be exceeded, 0 where it cannot be
    BLOCK_H: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
    PDL: tl.constexpr,
):
    HALF: tl.constexpr = HEAD_DIM // 2
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)  # [BLOCK_H]
    column = tl.arange(0, BLOCK_HALF)  # [BLOCK_HALF]
    in_half = column < HALF
    is_q = head < HEADS
    is_k = (head >= HEADS) & (head < HEADS + KV_HEADS)
    is_v = (head >= HEADS + KV_HEADS) & (head < HEADS + 2 * KV_HEADS)
    start_next(PDL)
    wait_previous(PDL)

    source = token * ((HEADS + 2 * KV_HEADS) * HEAD_DIM) + head[:, None] * HEAD_DIM + column[None, :]
    mask = (is_q | is_k | is_v)[:, None] & in_half[None, :]
    a = tl.load(qkv_ptr + source, mask=mask, other=0.0).to(tl.float32)  # [BLOCK_H, BLOCK_HALF]
    b = tl.load(qkv_ptr + source + HALF, mask=mask, other=0.0).to(tl.float32)

    slot = tl.load(slots_ptr + token)
    written = slot >= 0
    cache = slot.to(tl.int64) * (KV_HEADS * HEAD_DIM)
    v_head = head - HEADS - KV_HEADS
    v_at = cache + v_head[:, None] * HEAD_DIM + column[None, :]
    v_mask = (is_v & written)[:, None] & in_half[None, :]
    tl.store(v_ptr + v_at, stored(a, LARGEST).to(v_ptr.dtype.element_ty), mask=v_mask)
    tl.store(v_ptr + v_at + HALF, stored(b, LARGEST).to(v_ptr.dtype.element_ty), mask=v_mask)

    if NORM:
        scale = tl.rsqrt((tl.sum(a * a, axis=1) + tl.sum(b * b, axis=1)) / HEAD_DIM + eps)[:, None]
        q_a = tl.load(q_norm_ptr + column, mask=in_half, other=0.0).to(tl.float32)[None, :]
        q_b = tl.load(q_norm_ptr + HALF + column, mask=in_half, other=0.0).to(tl.float32)[None, :]
        k_a = tl.load(k_norm_ptr + column, mask=in_half, other=0.0).to(tl.float32)[None, :]
        k_b = tl.load(k_norm_ptr + HALF + column, mask=in_half, other=0.0).to(tl.float32)[None, :]
        a *= scale * tl.where(is_q[:, None], q_a, k_a)
        b *= scale * tl.where(is_q[:, None], q_b, k_b)

    # The table's rows: cosines of both halves, then sines, those of the first half negated.
    table = rope_ptr + token * (2 * HEAD_DIM) + column
    cos = tl.load(table, mask=in_half, other=0.0)[None, :]
    sin = tl.load(table + HEAD_DIM + HALF, mask=in_half, other=0.0)[None, :]
    first = a * cos - b * sin
    second = b * cos + a * sin

    q_at = token * (HEADS * HEAD_DIM) + head[:, None] * HEAD_DIM + column[None, :]
    q_mask = is_q[:, None] & in_half[None, :]
    tl.store(q_ptr + q_at, first.to(q_ptr.dtype.element_ty), mask=q_mask)
    tl.store(q_ptr + q_at + HALF, second.to(q_ptr.dtype.element_ty), mask=q_mask)

    k_at = cache + (head - HEADS)[:, None] * HEAD_DIM + column[None, :]
    k_mask = (is_k & written)[:, None] & in_half[None, :]
    tl.store(k_ptr + k_at, stored(first, LARGEST).to(k_ptr.dtype.element_ty), mask=k_mask)
    tl.store(k_ptr + k_at + HALF, stored(second, LARGEST).to(k_ptr.dtype.element_ty), mask=k_mask)


def rotary_kv_triton(
    qkv: Tensor,
    rope: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    slots: Tensor,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    eps: float = 0.0,
) -> Tensor:
    """See `rotary_kv`. All tensors contiguous."""
    require(k_cache.dim() == 4 and k_cache.shape == v_cache.shape, "the caches must have one shape of 4 dimensions")
    kv_heads, head_dim = k_cache.shape[2:]
    tokens, width = qkv.shape
    heads = width // head_dim - 2 * kv_heads
    require(head_dim % 2 == 0 and heads > 0 and width == (heads + 2 * kv_heads) * head_dim, f"qkv has {width} columns")
    require(
        rope.dtype == torch.float32 and rope.shape == (tokens, 2, head_dim), "rope must be float32 [T, 2, head_dim]"
    )
    require(rope.is_contiguous() and slots.shape == (tokens,), "rope must be contiguous, slots [T]")
    require((q_norm is None) == (k_norm is None), "both norms or neither")
    check_floats(qkv=qkv)
    check_stored(qkv, k_cache=k_cache, v_cache=v_cache)
    require(k_cache.dtype == v_cache.dtype, "the caches must have one dtype")
    check_integers(torch.int64, qkv.device, slots=slots)
    if q_norm is not None and k_norm is not None:
        require(q_norm.shape == k_norm.shape == (head_dim,), "norm weights must be [head_dim]")
        check_floats(qkv=qkv, q_norm=q_norm, k_norm=k_norm)
    q = torch.empty((tokens, heads, head_dim), dtype=qkv.dtype, device=qkv.device)
    if tokens:
        rotary_kv_kernel[(tokens, triton.cdiv(heads + 2 * kv_heads, BLOCK_H))](
            qkv,
            rope,
            q,
            k_cache,
            v_cache,
            slots,
            qkv if q_norm is None else q_norm,
            qkv if k_norm is None else k_norm,
            eps,
            HEADS=heads,
            KV_HEADS=kv_heads,
            HEAD_DIM=head_dim,
            NORM=q_norm is not None,
            LARGEST=LARGEST if k_cache.dtype == FP8 else 0.0,
            BLOCK_H=BLOCK_H,
            BLOCK_HALF=triton.next_power_of_2(head_dim // 2),
            num_warps=4,
            **dependent_launch(qkv),
        )
    return q
