"""Paged prefill attention in Triton: causal flash attention of ragged rows over paged keys and values.

One program takes BLOCK_M queries of one row: the PACK query heads that share a kv head of BLOCK_M / PACK new tokens. It
walks the row's tokens up to its own last one with an online softmax in powers of two. Tiles that all its tokens see
whole come first, by tensor descriptors (TMA) where a tile lies within one page; the tiles on the diagonal are masked,
and loaded by pointers, so that nothing past the row's end is read. The longest blocks start first.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from ..checks import check_caches, check_floats, check_integers, check_stored, require
from ..tuning import tuned
from .hopper import Cut, cut_for, hopper_prefill

LOG2_E = 1.4426950408889634
# Two sizes of batches and not one for each power of two: what a start has not compiled, a step would wait for.
FEW_ROWS, MANY_ROWS = 256, 4096


@triton.jit
def absorb(acc, total, best, q, k, v, seen, scale, MASKED: tl.constexpr, PRECISION: tl.constexpr):
    """One step of the online softmax: keys k and values v [BLOCK_N, BLOCK_D], seen where `seen` or not MASKED."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # [BLOCK_M, BLOCK_N]
    if MASKED:
        scores = tl.where(seen, scores, float("-inf"))
    higher = tl.maximum(best, tl.max(scores, axis=1) * scale)
    weights = tl.exp2(scores * scale - higher[:, None])
    fade = tl.exp2(best - higher)
    total = total * fade + tl.sum(weights, axis=1)
    acc = tl.dot(weights.to(v.dtype), v, acc * fade[:, None], input_precision=PRECISION)
    return acc, total, higher


@triton.jit
def row_of(block, starts_ptr, rows, TOKENS: tl.constexpr, BLOCK_R: tl.constexpr):
    """(row, block within the row, first new token, new tokens) of a block of TOKENS; the row is -1 past the last.

    Blocks are counted from the last one of the last row back: what comes late in a row has the longest way to go.
    """
    index = tl.arange(0, BLOCK_R)
    begins = tl.load(starts_ptr + index, mask=index < rows, other=0)
    ends = tl.load(starts_ptr + index + 1, mask=index < rows, other=0)
    counts = tl.cdiv(ends - begins, TOKENS)
    block = tl.sum(counts, axis=0) - 1 - block
    row = tl.sum((tl.cumsum(counts, axis=0) <= block).to(tl.int32), axis=0)
    within = block - tl.sum(tl.where(index < row, counts, 0), axis=0)
    begin = tl.sum(tl.where(index == row, begins, 0), axis=0)
    end = tl.sum(tl.where(index == row, ends, 0), axis=0)
    return tl.where(block < 0, -1, row), within, begin, end - begin


# Slices of a step's arrays begin anywhere: one compilation must serve every alignment.
@triton.jit(
    do_not_specialize=["table_width", "rows"],
    do_not_specialize_on_alignment=["table_ptr", "starts_ptr", "lengths_ptr"],
)
def paged_prefill_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    k_tiles,
    v_tiles,
    table_ptr,
    starts_ptr,
    lengths_ptr,
    out_ptr,
    table_width,
    rows,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    PACK: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_R: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    TOKENS: tl.constexpr = BLOCK_M // PACK
    first_head = tl.program_id(0) * PACK
    kv_head = first_head // (HEADS // KV_HEADS)
    row, block, begin, new = row_of(tl.program_id(1), starts_ptr, rows, TOKENS, BLOCK_R)
    if row < 0:
        return
    length = tl.load(lengths_ptr + row)
    cached = length - new

    query = tl.arange(0, BLOCK_M)
    member = block * TOKENS + query // PACK  # new token of the row
    column = tl.arange(0, BLOCK_D)
    at = (begin + member).to(tl.int64) * (HEADS * HEAD_DIM) + (first_head + query % PACK) * HEAD_DIM  # [BLOCK_M]
    mask = (member < new)[:, None] & (column < HEAD_DIM)[None, :]
    q = tl.load(q_ptr + at[:, None] + column[None, :], mask=mask, other=0.0)
    position = cached + member

    best = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    table = table_ptr + row.to(tl.int64) * table_width
    tile = tl.arange(0, BLOCK_N)
    # Every token of the block sees all of [0, open_end); the diagonal lies in [open_end, stop).
    open_end = (cached + block * TOKENS + 1) // BLOCK_N * BLOCK_N
    stop = tl.minimum(cached + (block + 1) * TOKENS, length)
    for start in tl.range(0, open_end, BLOCK_N):
        if DESCRIPTORS:
            first = tl.load(table + start // PAGE_SIZE) * PAGE_SIZE + start % PAGE_SIZE
            k = k_tiles.load([first, kv_head * HEAD_DIM])
            v = v_tiles.load([first, kv_head * HEAD_DIM])
        else:
            if PAGE_SIZE % BLOCK_N == 0:  # a tile lies within one page
                page = tl.load(table + start // PAGE_SIZE).to(tl.int64)
                line = page * PAGE_SIZE + start % PAGE_SIZE + tile
            else:
                page = tl.load(table + (start + tile) // PAGE_SIZE).to(tl.int64)
                line = page * PAGE_SIZE + (start + tile) % PAGE_SIZE
            source = ((line * KV_HEADS + kv_head) * HEAD_DIM)[:, None] + column[None, :]
            k = tl.load(k_ptr + source, mask=(column < HEAD_DIM)[None, :], other=0.0)
            v = tl.load(v_ptr + source, mask=(column < HEAD_DIM)[None, :], other=0.0)
        acc, total, best = absorb(acc, total, best, q, k.to(q.dtype), v.to(q.dtype), None, scale, False, PRECISION)
    for start in tl.range(open_end, stop, BLOCK_N):
        token = start + tile
        page = tl.load(table + token // PAGE_SIZE, mask=token < length, other=0).to(tl.int64)
        source = ((page * PAGE_SIZE + token % PAGE_SIZE) * KV_HEADS + kv_head) * HEAD_DIM
        kv_mask = (token < length)[:, None] & (column < HEAD_DIM)[None, :]
        k = tl.load(k_ptr + source[:, None] + column[None, :], mask=kv_mask, other=0.0)
        v = tl.load(v_ptr + source[:, None] + column[None, :], mask=kv_mask, other=0.0)
        seen = token[None, :] <= position[:, None]
        acc, total, best = absorb(acc, total, best, q, k.to(q.dtype), v.to(q.dtype), seen, scale, True, PRECISION)
    y = acc / total[:, None]
    tl.store(out_ptr + at[:, None] + column[None, :], y.to(out_ptr.dtype.element_ty), mask=mask)


@dataclass(frozen=True)
class Tile:
    """How the work is cut: queries and tokens of a tile, and how a program runs. Descriptors need sm_90."""

    block_m: int
    block_n: int
    warps: int
    stages: int = 2
    descriptors: bool = False


def tile_for(device: torch.device, work: int, head_dim: int, page_size: int, cache: torch.dtype) -> Tile:
    """The tile that was measured to be best on this GPU, or one for all.

    work: queries of all heads. A large tile is the better one where it leaves enough to do for each processor.
    """
    key = head_dim, page_size, 8 * cache.itemsize
    found = tuned(device, "paged_prefill_attention", *key)
    if found is not None and work < processors(device) * found["block_m"] * 5 // 2:
        found = tuned(device, "paged_prefill_attention", *key, "few") or found
    return common_tile(head_dim, cache.itemsize == 4) if found is None else Tile(**found)


@lru_cache
def processors(device: torch.device) -> int:
    """Streaming multiprocessors of a GPU."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def common_tile(head_dim: int, wide: bool) -> Tile:
    """A tile that fits the registers and shared memory of sm_80 and newer."""
    if wide:
        return Tile(32, 32, 4) if head_dim <= 128 else Tile(16, 16, 4)
    if head_dim <= 64:
        return Tile(128, 64, 4)
    return Tile(64, 64, 4) if head_dim <= 128 else Tile(64, 32, 8)


def pack_for(heads: int, kv_heads: int, block_m: int) -> int:
    """Query heads that share a tile: all of a kv head, where they divide it."""
    group = heads // kv_heads
    return group if block_m % group == 0 and group <= block_m // 8 else 1


def paged_prefill_attention_triton(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    starts: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor | None = None,
    tile: Tile | None = None,
    pack: int | None = None,
    cut: Cut | None = None,
) -> Tensor:
    """See `paged_prefill_attention`. All tensors contiguous; `tile` or `cut` overrides the choice."""
    check_caches(q, k_cache, v_cache)
    check_floats(q=q)
    check_stored(q, k_cache=k_cache, v_cache=v_cache)
    check_integers(torch.int32, q.device, page_table=page_table, starts=starts, lengths=lengths)
    tokens, heads, head_dim = q.shape
    _, page_size, kv_heads, _ = k_cache.shape
    rows = lengths.shape[0]
    require(page_table.dim() == 2 and page_table.shape[0] == rows, "page_table must be [rows, width]")
    require(starts.shape == (rows + 1,), "starts must be [rows + 1]")
    out = torch.empty_like(q) if out is None else out
    require(out.shape == q.shape, "out must have the shape of q")
    check_floats(q=q, out=out)
    if not rows or not tokens:
        return out
    if tile is None and cut is None:
        cut = cut_for(q, k_cache, rows)
    if cut is not None:
        seats = processors(q.device)
        hopper_prefill(q, k_cache, v_cache, page_table, starts, lengths, scale * LOG2_E, out, cut, seats)
        return out
    block_d = max(16, triton.next_power_of_2(head_dim))
    if tile is None:
        tile = (
            common_tile(block_d, True)
            if q.dtype == torch.float32
            else tile_for(q.device, tokens * heads, head_dim, page_size, k_cache.dtype)
        )
    pack = pack_for(heads, kv_heads, tile.block_m) if pack is None else pack
    k_tiles = v_tiles = None
    if tile.descriptors:
        require(head_dim == block_d and page_size % tile.block_n == 0, "a tile of a descriptor is part of one page")
        k_tiles, v_tiles = (
            TensorDescriptor.from_tensor(cache.view(-1, kv_heads * head_dim), [tile.block_n, head_dim])
            for cache in (k_cache, v_cache)
        )
    # At most one block of each row is not full.
    blocks = tokens // (tile.block_m // pack) + rows
    paged_prefill_kernel[(heads // pack, blocks)](
        q,
        k_cache,
        v_cache,
        k_tiles,
        v_tiles,
        page_table,
        starts,
        lengths,
        out,
        page_table.shape[1],
        rows,
        scale * LOG2_E,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        PACK=pack,
        BLOCK_M=tile.block_m,
        BLOCK_N=tile.block_n,
        BLOCK_D=block_d,
        BLOCK_R=FEW_ROWS if rows <= FEW_ROWS else max(MANY_ROWS, triton.next_power_of_2(rows)),
        DESCRIPTORS=tile.descriptors,
        PRECISION="ieee",
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out
