"""Checks of the attention kernels.

Outputs start as NaN, so that what a kernel does not write shows; caches hold NaN wherever no row may look.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from helpers.kernel_checks import assert_close, randn
from lightllm_rs.backend.prefix_work import prefix_work, prefixes_of
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.kernels.paged_decode_attention.kernel import paged_decode_attention_triton
from lightllm_rs.kernels.paged_decode_attention.reference import paged_decode_attention_reference
from lightllm_rs.kernels.paged_prefill_attention.kernel import Tile, paged_prefill_attention_triton
from lightllm_rs.kernels.paged_prefill_attention.reference import paged_prefill_attention_reference


@dataclass
class Paged:
    """Rows of the given lengths in pages that lie in random order; unused slots hold NaN."""

    k: Tensor
    v: Tensor
    table: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, lengths: list[int], page_size: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: str):
        counts = [-(-length // page_size) for length in lengths]
        pages = sum(counts) + 3
        order = torch.randperm(pages, dtype=torch.int32)
        table = torch.full((len(lengths), max([*counts, 1]) + 2), 2**31 - 1, dtype=torch.int32)
        k = torch.full((pages, page_size, kv_heads, head_dim), float("nan"))
        v = torch.full_like(k, float("nan"))
        used = 0
        for row, (length, count) in enumerate(zip(lengths, counts, strict=True)):
            table[row, :count] = order[used : used + count]
            used += count
            position = torch.arange(length)
            page = table[row, position // page_size].long()
            k[page, position % page_size] = torch.randn(length, kv_heads, head_dim)
            v[page, position % page_size] = torch.randn(length, kv_heads, head_dim)
        sizes = torch.tensor(lengths, dtype=torch.int32)
        return cls(k.to(device, dtype), v.to(device, dtype), table.to(device), sizes.to(device))

    def rounded(self) -> Paged:
        """The same in e4m3, that is, about the same."""
        return Paged(self.k.to(FP8), self.v.to(FP8), self.table, self.lengths)


def decode_case(
    device: str,
    dtype: torch.dtype,
    lengths: list[int],
    heads: int,
    kv_heads: int,
    head_dim: int,
    page_size: int,
    splits: int | None,
    cache: torch.dtype | None = None,
) -> None:
    paged = Paged.of(lengths, page_size, kv_heads, head_dim, dtype, device)
    paged = paged if cache is None else paged.rounded()
    q = randn(len(lengths), heads, head_dim, dtype=dtype, device=device)
    out = torch.full_like(q, float("nan"))
    paged_decode_attention_triton(q, paged.k, paged.v, paged.table, paged.lengths, 0.2, out, splits=splits)
    expected = paged_decode_attention_reference(q, paged.k, paged.v, paged.table, paged.lengths, 0.2)
    assert_close(out, expected, dtype)


def prefix_case(
    device: str,
    dtype: torch.dtype,
    lengths: list[int],
    groups: list[tuple[int, int, int]],
    heads: int,
    kv_heads: int,
    head_dim: int,
    page_size: int,
    splits: int | None,
    cache: torch.dtype | None = None,
) -> None:
    """groups: (first row, rows, shared pages). The work tensors are as wide as a captured graph's."""
    paged = Paged.of(lengths, page_size, kv_heads, head_dim, dtype, device)
    paged = paged if cache is None else paged.rounded()
    for first, rows, pages in groups:
        paged.table[first : first + rows, :pages] = paged.table[first, :pages].clone()
    work = prefix_work(np.array(groups, dtype=np.int64).reshape(-1, 3), len(lengths), page_size)
    prefixes = prefixes_of(torch.from_numpy(work.words(work.items.shape[0] + 3)).to(device), len(lengths))
    q = randn(len(lengths), heads, head_dim, dtype=dtype, device=device)
    out = torch.full_like(q, float("nan"))
    arguments = (q, paged.k, paged.v, paged.table, paged.lengths, 0.2)
    paged_decode_attention_triton(*arguments, out, prefixes, splits=splits)
    assert_close(out, paged_decode_attention_reference(*arguments), dtype)


def prefill_case(
    device: str,
    dtype: torch.dtype,
    rows: list[tuple[int, int]],
    heads: int,
    kv_heads: int,
    head_dim: int,
    page_size: int,
    cache: torch.dtype | None = None,
    tile: Tile | None = None,
) -> None:
    """rows: (new tokens, tokens in the cache, the new ones included)."""
    paged = Paged.of([length for _, length in rows], page_size, kv_heads, head_dim, dtype, device)
    paged = paged if cache is None else paged.rounded()
    news = [new for new, _ in rows]
    starts = torch.tensor([0, *accumulate(news)], dtype=torch.int32, device=device)
    q = randn(sum(news), heads, head_dim, dtype=dtype, device=device)
    out = torch.full_like(q, float("nan"))
    arguments = (q, paged.k, paged.v, paged.table, starts, paged.lengths)
    paged_prefill_attention_triton(*arguments, 0.2, out, tile)
    assert_close(out, paged_prefill_attention_reference(*arguments, 0.2), dtype)
