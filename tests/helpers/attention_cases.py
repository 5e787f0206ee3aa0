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
from lightllm_rs.kernels.paged_decode_attention.cut import cut_for
from lightllm_rs.kernels.paged_decode_attention.kernel import paged_decode_attention_triton
from lightllm_rs.kernels.paged_decode_attention.reference import paged_decode_attention_reference
from lightllm_rs.kernels.paged_prefill_attention.hopper import Cut
from lightllm_rs.kernels.paged_prefill_attention.kernel import Tile, paged_prefill_attention_triton
from lightllm_rs.kernels.paged_prefill_attention.reference import paged_prefill_attention_reference


@dataclass
class Paged:
    """Rows of the given lengths in pages that lie in random order; unused slots hold NaN.

    cache: dtype of the pages, where it is another than that of the arithmetic.
    """

    k: Tensor
    v: Tensor
    table: Tensor
    lengths: Tensor

    @classmethod
    def of(
        cls,
        lengths: list[int],
        page_size: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: str,
        cache: torch.dtype | None = None,
    ) -> Paged:
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
        k, v = (pages.to(device, dtype).to(cache or dtype) for pages in (k, v))
        return cls(k, v, table.to(device), sizes.to(device))


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
    paged = Paged.of(lengths, page_size, kv_heads, head_dim, dtype, device, cache)
    q = randn(len(lengths), heads, head_dim, dtype=dtype, device=device)
    out = torch.full_like(q, float("nan"))
    arguments = (q, paged.k, paged.v, paged.table, paged.lengths, 0.2)
    cut = cut_for(q, paged.k, paged.table.shape[1] * page_size)
    paged_decode_attention_triton(*arguments, out, cut=cut if splits is None else cut._replace(splits=splits))
    assert_close(out, paged_decode_attention_reference(*arguments), dtype)


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
    paged = Paged.of(lengths, page_size, kv_heads, head_dim, dtype, device, cache)
    for first, rows, pages in groups:
        paged.table[first : first + rows, :pages] = paged.table[first, :pages].clone()
    work = prefix_work(np.array(groups, dtype=np.int64).reshape(-1, 3), len(lengths), page_size)
    prefixes = prefixes_of(torch.from_numpy(work.words(work.items.shape[0] + 3)).to(device), len(lengths))
    q = randn(len(lengths), heads, head_dim, dtype=dtype, device=device)
    out = torch.full_like(q, float("nan"))
    arguments = (q, paged.k, paged.v, paged.table, paged.lengths, 0.2)
    cut = cut_for(q, paged.k, paged.table.shape[1] * page_size)
    cut = cut if splits is None else cut._replace(splits=splits)
    paged_decode_attention_triton(*arguments, out, prefixes, cut=cut)
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
    cut: Cut | None = None,
) -> None:
    """rows: (new tokens, tokens in the cache, the new ones included)."""
    paged = Paged.of([length for _, length in rows], page_size, kv_heads, head_dim, dtype, device, cache)
    news = [new for new, _ in rows]
    starts = torch.tensor([0, *accumulate(news)], dtype=torch.int32, device=device)
    q = randn(sum(news), heads, head_dim, dtype=dtype, device=device)
    out = torch.full_like(q, float("nan"))
    arguments = (q, paged.k, paged.v, paged.table, starts, paged.lengths)
    paged_prefill_attention_triton(*arguments, 0.2, out, tile, cut=cut)
    assert_close(out, paged_prefill_attention_reference(*arguments, 0.2), dtype)
