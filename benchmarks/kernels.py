"""Each kernel against the limit of its device: the bytes it must move over the copy bandwidth measured beside it,
or its operations over the rate of a large matrix product.

    python benchmarks/kernels.py [name ...]

Every launch of a timed graph has inputs of its own, more than the caches hold. Needs a CUDA device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lightllm_rs.backend.prefix_work import ITEMS, prefix_work, prefixes_of
from lightllm_rs.kernels.paged_decode_attention import SharedPrefixes, paged_decode_attention
from lightllm_rs.kernels.paged_prefill_attention import paged_prefill_attention
from lightllm_rs.kernels.rms_norm import rms_norm
from lightllm_rs.kernels.silu_mul import silu_mul
from lightllm_rs.kernels.skinny_linear import skinny_linear

COLD = 256 << 20
"""Bytes after which nothing of a first input is left in the caches."""


@dataclass
class Entry:
    """A launch to time: `run(i)` with the i-th of `sets` inputs; it must move `bytes`, or do `flops` operations."""

    name: str
    bytes: int
    sets: int
    run: Callable[[int], object]
    flops: int = 0


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16, device="cuda")


def linear() -> Iterator[Entry]:
    """The products of Llama-3.1-8B with few rows, and the library's for comparison."""
    for outputs, inputs, silu in ((6144, 4096, False), (4096, 4096, False), (28672, 4096, True), (4096, 14336, False)):
        sets = COLD // (outputs * inputs * 2) + 2
        weights = [floats(outputs, inputs) for _ in range(sets)]
        for rows in (1, 2, 4):
            yield from products(floats(rows, inputs), weights, silu)


def products(x: torch.Tensor, weights: list[torch.Tensor], silu: bool) -> Iterator[Entry]:
    norm = (floats(x.shape[1]), 1e-5)
    size, sets = weights[0].nbytes, len(weights)
    name = f"{x.shape[0]} rows, {weights[0].shape[0]} x {weights[0].shape[1]}"
    yield Entry(f"skinny_linear {name}", size, sets, lambda i: skinny_linear(x, weights[i], norm=norm, silu=silu))
    yield Entry(f"library       {name}", size, sets, lambda i: F.linear(x, weights[i]))


def elementwise() -> Iterator[Entry]:
    """Norm and activation of a prompt's tokens."""
    tokens = 4096
    x, residual, weight = floats(tokens, 4096), floats(tokens, 4096), floats(4096)
    yield Entry("rms_norm with residual, 4096 x 4096", 4 * x.nbytes, 8, lambda i: rms_norm(x, weight, 1e-5, residual))
    gate_up = floats(tokens, 28672)
    yield Entry("silu_mul, 4096 x 28672", gate_up.nbytes * 3 // 2, 4, lambda i: silu_mul(gate_up))


class Pages:
    """Keys and values of Llama-3.1-8B's heads in pages of 64 tokens, and tables of rows over them in random order."""

    heads, kv_heads, head_dim, size = 32, 8, 128, 64
    scale = 128**-0.5

    def __init__(self, tokens: int = 1 << 19) -> None:
        self.count = tokens // self.size
        self.k, self.v = (floats(self.count, self.size, self.kv_heads, self.head_dim) for _ in range(2))

    def table(self, rows: int, tokens: int) -> torch.Tensor:
        """int32 [rows, pages of 8192 tokens]; no page twice, if there are enough."""
        needed = -(-tokens // self.size)
        order = torch.randperm(self.count, dtype=torch.int32, device="cuda").repeat(1 + rows * needed // self.count)
        table = torch.zeros(rows, 8192 // self.size, dtype=torch.int32, device="cuda")
        table[:, :needed] = order[: rows * needed].view(rows, needed)
        return table


def decode_attention() -> Iterator[Entry]:
    """One new token a row; the last rows share their first 3,072 tokens."""
    pages = Pages()
    for rows, tokens, shared in ((1, 256, 0), (8, 600, 0), (64, 3328, 0), (255, 500, 0), (64, 3328, 3072)):
        size = (shared + rows * (tokens - shared)) * pages.kv_heads * pages.head_dim * 4
        sets = min(16, COLD // size + 2)
        tables = [pages.table(rows, tokens) for _ in range(sets)]
        prefixes = None
        if shared:
            for table in tables:
                table[:, : shared // pages.size] = table[0, : shared // pages.size].clone()
            work = prefix_work(np.array([[0, rows, shared // pages.size]]), rows, pages.size)
            prefixes = prefixes_of(torch.from_numpy(work.words(ITEMS)).cuda(), rows)
        yield decode_entry(pages, tables, torch.full((rows,), tokens, device="cuda", dtype=torch.int32), prefixes, size)


def decode_entry(
    pages: Pages, tables: list[torch.Tensor], lengths: torch.Tensor, prefixes: SharedPrefixes | None, size: int
) -> Entry:
    q, step = floats(len(lengths), pages.heads, pages.head_dim), dict[str, Any]()
    name = f"decode attention, {len(lengths)} x {lengths[0]}{' shared' if prefixes else ''}"

    def run(i: int) -> object:
        return paged_decode_attention(
            q, pages.k, pages.v, tables[i], lengths, pages.scale, prefixes=prefixes, shared=step
        )

    return Entry(name, size, len(tables), run)


def prefill_attention() -> Iterator[Entry]:
    """New tokens over themselves and what is cached before them."""
    pages = Pages()
    for rows, new, cached in ((1, 4096, 0), (4, 1024, 0), (8, 256, 3072)):
        starts = torch.arange(rows + 1, device="cuda", dtype=torch.int32) * new
        lengths = torch.full((rows,), new + cached, device="cuda", dtype=torch.int32)
        pairs = rows * (new * cached + new * (new + 1) // 2)
        yield prefill_entry(pages, pages.table(rows, new + cached), starts, lengths, pairs)


def prefill_entry(pages: Pages, table: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor, pairs: int) -> Entry:
    q = floats(int(starts[-1]), pages.heads, pages.head_dim)
    name = f"prefill attention, {len(lengths)} x {starts[1]} of {lengths[0]}"
    run = partial(paged_prefill_attention, q, pages.k, pages.v, table, starts, lengths, pages.scale)
    return Entry(name, 0, 4, lambda i: run(), flops=4 * pairs * pages.heads * pages.head_dim)


ENTRIES = {"decode": decode_attention, "prefill": prefill_attention, "linear": linear, "elementwise": elementwise}


def microseconds(entry: Entry) -> float:
    """Of one launch; the median of nine runs of a captured graph of all sets."""
    entry.run(0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(entry.sets):
            entry.run(i)
    times = []
    for _ in range(9):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / entry.sets)
    return sorted(times)[4]


def copy_bandwidth() -> float:
    """Bytes a microsecond of a large copy, read and written bytes counted."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    copy = Entry("copy", 2 * source.nbytes, 1, lambda i: target.copy_(source))
    return copy.bytes / microseconds(copy)


def matrix_rate() -> float:
    """Operations a microsecond of a large matrix product."""
    a, b = floats(8192, 8192), floats(8192, 8192)
    return 2 * 8192**3 / microseconds(Entry("product", 0, 4, lambda i: a @ b))


def main() -> None:
    chosen = sys.argv[1:] or list(ENTRIES)
    limit, rate = copy_bandwidth(), matrix_rate()
    print(f"{torch.cuda.get_device_name()}: copy {limit / 1e6:.2f} TB/s, product of 8192^3 {rate / 1e6:.0f} TFLOP/s")
    for name in chosen:
        for entry in ENTRIES[name]():
            time = microseconds(entry)
            reached = f"{entry.bytes / time / limit:6.1%} of the copy bandwidth"
            if entry.flops:
                reached = f"{entry.flops / time / rate:6.1%} of the matrix rate, {entry.flops / time / 1e6:.0f} TFLOP/s"
            print(f"{entry.name:48} {time:9.1f} us  {reached}")


if __name__ == "__main__":
    main()
