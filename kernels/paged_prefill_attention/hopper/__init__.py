"""Paged prefill attention by warps with roles of their own: where it is used, and its launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from ...checks import require
from ...tuning import tuned

# Most rows of a batch: every warp holds all their beginnings.
ROWS = 64
# Queries of a warpgroup, and warpgroups of a program.
QUERIES, CONSUMERS = 64, 2


@dataclass(frozen=True)
class Cut:
    """block_n: keys of a tile, a page or two. stages: tiles under way.

    least: queries of all heads from which on this kernel is the faster one.
    """

    block_n: int
    stages: int
    least: int


def cut_for(q: Tensor, k_cache: Tensor, rows: int) -> Cut | None:
    """The cut that was measured to be best on this GPU, or None where another kernel is to be used."""
    if rows > ROWS or k_cache.dtype != q.dtype or q.itemsize != 2 or not has_gluon(triton.__version__):
        return None
    tokens, heads, head_dim = q.shape
    group, odd = divmod(heads, k_cache.shape[2])
    if odd or group not in (1, 2, 4, 8):
        return None
    found = tuned(q.device, "paged_prefill_attention", head_dim, k_cache.shape[1], 8 * k_cache.itemsize, "hopper")
    if found is None or tokens * heads < found["least"]:
        return None
    return Cut(**found)


def has_gluon(version: str) -> bool:
    """Whether Triton has the Gluon that the kernel is written in."""
    return tuple(int(part) for part in version.split(".")[:2]) >= (3, 6)


def hopper_prefill(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    starts: Tensor,
    lengths: Tensor,
    scale: float,
    out: Tensor,
    cut: Cut,
    seats: int,
) -> None:
    """See `paged_prefill_attention`; arguments are checked. scale is for powers of two, seats are programs at once."""
    # Older versions of Triton have no such modules.
    from triton.experimental.gluon.language import NVMMASharedLayout, bfloat16, float16
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    from .kernel import hopper_prefill_kernel

    tokens, heads, head_dim = q.shape
    _, page_size, kv_heads, _ = k_cache.shape
    require(cut.block_n in (page_size, 2 * page_size), "a tile of keys is a page or two")
    pack = heads // kv_heads
    dtype = bfloat16 if q.dtype == torch.bfloat16 else float16

    def source(tensor: Tensor, lines: int) -> TensorDescriptor:
        block = [lines, head_dim]
        return TensorDescriptor.from_tensor(tensor, block, NVMMASharedLayout.get_default_for(block, dtype))

    each = QUERIES // pack
    # At most one block of each row is not full.
    units = (tokens // (CONSUMERS * each) + lengths.shape[0]) * kv_heads
    hopper_prefill_kernel[(min(units, seats),)](
        source(q.view(tokens, heads * head_dim), each),
        source(k_cache.view(-1, kv_heads * head_dim), page_size),
        source(v_cache.view(-1, kv_heads * head_dim), page_size),
        page_table,
        starts,
        lengths,
        out,
        page_table.shape[1],
        lengths.shape[0],
        scale,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        PACK=pack,
        BLOCK_N=cut.block_n,
        BLOCK_R=ROWS,
        STAGES=cut.stages,
        num_warps=4,
    )
