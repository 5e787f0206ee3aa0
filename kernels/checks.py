"""Checks of the host wrappers: a kernel reads what its strides say, so wrong tensors are refused before the launch."""

from __future__ import annotations

import torch
from torch import Tensor

from .fp8 import FP8

FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def require(condition: bool, message: str) -> None:
    """Raise `ValueError(message)` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def check_floats(**tensors: Tensor) -> None:
    """All contiguous, of one supported floating dtype and on one device."""
    first = next(iter(tensors.values()))
    require(first.dtype in FLOATS, f"dtype {first.dtype} is not supported")
    for name, tensor in tensors.items():
        require(tensor.dtype == first.dtype, f"{name} is {tensor.dtype}, not {first.dtype}")
        require(tensor.device == first.device, f"{name} is on {tensor.device}, not {first.device}")
        require(tensor.is_contiguous(), f"{name} must be contiguous")


def check_integers(dtype: torch.dtype, device: torch.device, **tensors: Tensor) -> None:
    """All contiguous, of `dtype`, on `device`."""
    for name, tensor in tensors.items():
        require(tensor.dtype == dtype, f"{name} is {tensor.dtype}, not {dtype}")
        require(tensor.device == device, f"{name} is on {tensor.device}, not {device}")
        require(tensor.is_contiguous(), f"{name} must be contiguous")


def check_caches(q: Tensor, k_cache: Tensor, v_cache: Tensor) -> None:
    """q [tokens, heads, head_dim] fits caches of [pages, page_size, kv_heads, head_dim]."""
    require(q.dim() == 3, f"q must be [tokens, heads, head_dim], not {list(q.shape)}")
    require(k_cache.dim() == 4, f"a cache must be [pages, page_size, kv_heads, head_dim], not {list(k_cache.shape)}")
    require(k_cache.shape == v_cache.shape, "the caches must have one shape")
    require(k_cache.shape[3] == q.shape[2], f"head_dim is {q.shape[2]} in q, {k_cache.shape[3]} in the caches")
    require(q.shape[1] % k_cache.shape[2] == 0, f"{q.shape[1]} heads cannot share {k_cache.shape[2]} kv heads")
    require(q.shape[2] <= 256, f"head_dim {q.shape[2]} is more than 256")


def check_stored(like: Tensor, **caches: Tensor) -> None:
    """Caches of keys and values: all contiguous, on one device, of the dtype of `like` or e4m3."""
    for name, cache in caches.items():
        require(cache.dtype in (like.dtype, FP8), f"{name} is {cache.dtype}, not {like.dtype} or {FP8}")
        require(cache.device == like.device, f"{name} is on {cache.device}, not {like.device}")
        require(cache.is_contiguous(), f"{name} must be contiguous")
