"""Sum over ranks and RMS norm in Triton, over memory that the ranks can write into directly.

s = sum over ranks of x_r (+ residual);  y_i = s_i / sqrt(mean(s^2) + eps) * w_i.

One shot: each program writes its rows into the boxes of all other ranks, raises a flag there, waits for theirs, and
adds what has come, in the order of the ranks, so that all get the same bits. There is one barrier and not two: the next
call uses another box, and a flag of that call says that its sender is done with this one.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_floats, require
from .mailbox import PROGRAMS, TURNS, Mailbox


@triton.jit
def all_reduce_norm_kernel(
    x_ptr,
    residual_ptr,
    weight_ptr,
    y_ptr,
    sum_ptr,
    bases_ptr,
    rows,
    room,
    size,
    eps,
    flags_at,
    TURN: tl.constexpr,
    RANK: tl.constexpr,
    WORLD: tl.constexpr,
    PROGRAMS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    program, programs = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    element = tl.pointer_type(x_ptr.dtype.element_ty)
    column = tl.arange(0, BLOCK)
    mask = column < size
    box = tl.full((), TURN * WORLD, tl.int64) * room  # rows before those of this turn
    flag = (TURN * PROGRAMS + program) * WORLD

    for row in range(program, rows, programs):
        x = tl.load(x_ptr + row * size + column, mask=mask)
        for peer in tl.static_range(WORLD):
            if peer != RANK:
                theirs = tl.multiple_of(tl.load(bases_ptr + peer).to(element), 16)
                tl.store(theirs + (box + RANK * room + row) * size + column, x, mask=mask)
    tl.debug_barrier()  # the flag is raised by one thread, for the rows of all
    for peer in tl.static_range(WORLD):
        if peer != RANK:
            flags = (tl.load(bases_ptr + peer) + flags_at).to(tl.pointer_type(tl.int32))
            tl.atomic_xchg(flags + flag + RANK, 1, sem="release", scope="sys")
    mine = tl.load(bases_ptr + RANK)
    flags = (mine + flags_at).to(tl.pointer_type(tl.int32))
    for peer in tl.static_range(WORLD):
        if peer != RANK:
            while tl.atomic_cas(flags + flag + peer, 1, 0, sem="acquire", scope="sys") != 1:
                pass
    tl.debug_barrier()

    inbox = tl.multiple_of(mine.to(element), 16)
    weight = tl.load(weight_ptr + column, mask=mask, other=0.0).to(tl.float32)
    for row in range(program, rows, programs):
        at = row * size + column
        total = tl.zeros((BLOCK,), tl.float32)
        for rank in tl.static_range(WORLD):
            if rank == RANK:
                part = tl.load(x_ptr + at, mask=mask, other=0.0)
            else:
                # Not from this multiprocessor's own cache: another GPU wrote it.
                theirs = inbox + (box + rank * room + row) * size + column
                part = tl.load(theirs, mask=mask, other=0.0, cache_modifier=".cg")
            total += part.to(tl.float32)
        if HAS_RESIDUAL:
            total += tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
        rounded = total.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + at, rounded, mask=mask)
        total = rounded.to(tl.float32)
        scale = tl.rsqrt(tl.sum(total * total, axis=0) / size + eps)
        tl.store(y_ptr + at, (total * scale * weight).to(y_ptr.dtype.element_ty), mask=mask)


def all_reduce_norm_triton(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None, mailbox: Mailbox, turn: int
) -> tuple[Tensor, Tensor]:
    """See `all_reduce_norm`."""
    require(x.dim() == 2 and weight.shape == x.shape[1:], f"norm of {list(x.shape)} by a weight {list(weight.shape)}")
    require(x.shape[1] == mailbox.size, f"rows of {x.shape[1]} in a mailbox for {mailbox.size}")
    require(x.shape[0] <= mailbox.rows, f"{x.shape[0]} rows in a mailbox for {mailbox.rows}")
    require(0 <= turn < TURNS, f"turn {turn} of {TURNS}")
    check_floats(x=x, weight=weight)
    if residual is not None:
        require(residual.shape == x.shape, f"residual {list(residual.shape)} for x {list(x.shape)}")
        check_floats(x=x, residual=residual)
    y, total = torch.empty_like(x), torch.empty_like(x)
    rows, size = x.shape
    if rows:
        block = triton.next_power_of_2(size)
        all_reduce_norm_kernel[(min(rows, PROGRAMS),)](
            x,
            x if residual is None else residual,
            weight,
            y,
            total,
            mailbox.bases,
            rows,
            mailbox.rows,
            size,
            eps,
            mailbox.flags_at(x.element_size()),
            TURN=turn,
            RANK=mailbox.rank,
            WORLD=mailbox.world,
            PROGRAMS=PROGRAMS,
            HAS_RESIDUAL=residual is not None,
            BLOCK=block,
            num_warps=min(16, max(1, block // 256)),
        )
    return y, total
