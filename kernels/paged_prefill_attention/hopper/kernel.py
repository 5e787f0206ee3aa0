"""Paged prefill attention for Hopper: one warp that loads and warpgroups that compute, in Gluon.

A unit of work is 64 packed queries for each of CONSUMERS warpgroups: PACK heads that share a kv head, 64 / PACK new
tokens of a row. A program a processor walks the units, to and fro, so that none always has the longer ones. One warp
loads by TMA: queries a unit ahead, keys and values BLOCK_N tokens at a time into rings of STAGES tiles. A warpgroup
issues the scores of a tile and then the sums over the values of the tile before it, and takes its softmax while these
are multiplied (the order of FlashAttention-3, Shah et al. 2024). Only tiles on the diagonal are masked.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier

from .consumer import consumer
from .producer import producer


# Slices of a step's arrays begin anywhere: one compilation must serve every alignment.
@gluon.jit(
    do_not_specialize=["table_width", "rows"],
    do_not_specialize_on_alignment=["table_ptr", "starts_ptr", "lengths_ptr"],
)
def hopper_prefill_kernel(
    q_source,
    k_source,
    v_source,
    table_ptr,
    starts_ptr,
    lengths_ptr,
    out_ptr,
    table_width,
    rows,
    scale,
    HEADS: gl.constexpr,
    KV_HEADS: gl.constexpr,
    HEAD_DIM: gl.constexpr,
    PAGE_SIZE: gl.constexpr,
    PACK: gl.constexpr,
    BLOCK_N: gl.constexpr,
    BLOCK_R: gl.constexpr,
    STAGES: gl.constexpr,
):
    CONSUMERS: gl.constexpr = 2
    dtype: gl.constexpr = k_source.dtype
    q_layout: gl.constexpr = gl.NVMMASharedLayout.get_default_for([64, HEAD_DIM], dtype)
    layout: gl.constexpr = gl.NVMMASharedLayout.get_default_for([BLOCK_N, HEAD_DIM], dtype)
    bar: gl.constexpr = mbarrier.MBarrierLayout()
    q_tiles = gl.allocate_shared_memory(dtype, [2 * CONSUMERS, 64, HEAD_DIM], q_layout)
    k_tiles = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_N, HEAD_DIM], layout)
    v_tiles = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_N, HEAD_DIM], layout)
    q_ready = gl.allocate_shared_memory(gl.int64, [2, 1], bar)
    q_free = gl.allocate_shared_memory(gl.int64, [2, 1], bar)
    k_ready = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    k_free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    v_ready = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    v_free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    for i in gl.static_range(2):
        mbarrier.init(q_ready.index(i), count=1)
        mbarrier.init(q_free.index(i), count=CONSUMERS)
    for i in gl.static_range(STAGES):
        mbarrier.init(k_ready.index(i), count=1)
        mbarrier.init(k_free.index(i), count=CONSUMERS)
        mbarrier.init(v_ready.index(i), count=1)
        mbarrier.init(v_free.index(i), count=CONSUMERS)
    fence_async_shared()
    tiles, q_bars, bars = (k_tiles, v_tiles), (q_ready, q_free), (k_ready, k_free, v_ready, v_free)
    gl.warp_specialize(
        [
            (
                consumer,
                (
                    out_ptr,
                    starts_ptr,
                    lengths_ptr,
                    rows,
                    scale,
                    q_tiles,
                    tiles,
                    q_bars,
                    bars,
                    0,
                    CONSUMERS,
                    HEADS,
                    KV_HEADS,
                    HEAD_DIM,
                    PACK,
                    BLOCK_N,
                    BLOCK_R,
                    STAGES,
                ),
            ),
            (
                consumer,
                (
                    out_ptr,
                    starts_ptr,
                    lengths_ptr,
                    rows,
                    scale,
                    q_tiles,
                    tiles,
                    q_bars,
                    bars,
                    1,
                    CONSUMERS,
                    HEADS,
                    KV_HEADS,
                    HEAD_DIM,
                    PACK,
                    BLOCK_N,
                    BLOCK_R,
                    STAGES,
                ),
            ),
            (
                producer,
                (
                    q_source,
                    k_source,
                    v_source,
                    table_ptr,
                    starts_ptr,
                    lengths_ptr,
                    table_width,
                    rows,
                    q_tiles,
                    tiles,
                    q_bars,
                    bars,
                    CONSUMERS,
                    KV_HEADS,
                    HEAD_DIM,
                    PAGE_SIZE,
                    PACK,
                    BLOCK_N,
                    BLOCK_R,
                    STAGES,
                ),
            ),
        ],
        [4, 1],
        [232, 40],
    )
