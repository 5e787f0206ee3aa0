"""How decode attention is cut into programs: parts of a row, tiles of a part."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from ..tuning import tuned

# Programs that keep a large GPU busy; more parts than that only cost their combination.
PROGRAMS = 264
MAX_SPLITS = 64
# A part shorter than this is not worth a program of its own.
MIN_SPLIT_TOKENS = 128


class Cut(NamedTuple):
    """splits: parts of a row, a power of two. block_n: tokens of a tile. warps, stages: of a program."""

    splits: int
    block_n: int
    warps: int
    stages: int


def cut_for(q: Tensor, k_cache: Tensor, tokens: int) -> Cut:
    """The cut that was measured to be best on this GPU for so many rows, or one for all.

    It follows from shapes alone, as a captured grid must: `tokens` is what the page table can hold, not what the rows
    hold. What was measured says from how many to how many programs (rows times kv heads) it is for; parts are added as
    long as there are no more than that.
    """
    head_dim, (_, page_size, kv_heads, _) = q.shape[2], k_cache.shape
    programs = q.shape[0] * kv_heads
    longest = min(tokens // MIN_SPLIT_TOKENS, MAX_SPLITS)
    measured = tuned(q.device, "paged_decode_attention", head_dim, page_size, 8 * k_cache.itemsize)
    for found in measured["cuts"] if measured is not None else ():
        if found["least"] <= programs <= found["most"]:
            splits = floor_power(min(found["most"] // programs, longest))
            return Cut(splits, found["block_n"], found["warps"], found["stages"])
    block_d = max(16, triton.next_power_of_2(head_dim))
    block_n, stages = common_tile(block_d, q.dtype == torch.float32)
    return Cut(floor_power(min(-(-PROGRAMS // programs), longest)), block_n, 4, stages)


def common_tile(block_d: int, wide: bool) -> tuple[int, int]:
    """(tokens, stages) that fit the shared memory of sm_80 and newer."""
    return 32 if wide or block_d > 128 else 64, 2 if wide else 3


def floor_power(number: int) -> int:
    """The largest power of two that is no larger, 1 at least."""
    return 1 << max(0, number.bit_length() - 1)
