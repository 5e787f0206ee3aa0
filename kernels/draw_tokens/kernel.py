"""Drawing tokens from logits in Triton, without a sort.

With M the row's largest logit, T its temperature and d_i = (M - x_i) / T, a token is kept while d_i is at most a limit
(top_k, top_p, min_p), its weight is exp(-d_i), and the token drawn is the first, in the order of the vocabulary, up to
which the kept tokens have a share over u. T = 0 takes the first of the largest.

Three kernels: the largest logit and the weight of each chunk of a row; the limit of a row, by a search over the bits of
d (floats of one sign are ordered as their bits are), which weighs the chunks anew; the chunk in which the share is
passed, and the token in it.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, attr-defined"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import FLOATS, check_integers, require

CHUNK = 4096
"""Logits that one program looks at."""


@triton.jit
def survey_kernel(
    logits_ptr, slots_ptr, floats_ptr, max_ptr, arg_ptr, sum_ptr, stride, vocab, chunks,
    COLUMNS: tl.constexpr, CHECK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, chunk = tl.program_id(0), tl.program_id(1)
    column = chunk * BLOCK + tl.arange(0, BLOCK)
    mask = column < vocab
    x = tl.load(logits_ptr + row.to(tl.int64) * stride + column, mask=mask, other=float("-inf")).to(tl.float32)
    top = tl.max(x, axis=0)
    arg = tl.min(tl.where(x == top, column, vocab), axis=0)
    if CHECK:
        finite = tl.abs(x) < float("inf")
        bad = tl.max(tl.where(mask & (finite == 0), 1, 0), axis=0)
        arg = tl.where(bad > 0, -1, arg)
    temperature = tl.load(floats_ptr + tl.load(slots_ptr + row) * COLUMNS)
    total = 0.0
    if temperature > 0:
        best = tl.where(top == float("-inf"), 0.0, top)
        total = tl.sum(tl.exp((x - best) / temperature), axis=0)
    at = row.to(tl.int64) * chunks + chunk
    tl.store(max_ptr + at, top)
    tl.store(arg_ptr + at, arg)
    tl.store(sum_ptr + at, total)


@triton.jit
def reached(x, best, temperature, limit, COUNT: tl.constexpr):
    """What the tokens whose distance is at most `limit` count or weigh."""
    distance = (best - x) / temperature
    weight = tl.full(x.shape, 1.0, tl.float32) if COUNT else tl.exp(-distance)
    return tl.where(distance <= limit, weight, 0.0)


@triton.jit
def search(row_ptr, vocab, best, temperature, wanted, COUNT: tl.constexpr, BLOCK: tl.constexpr):
    """The smallest distance up to which the tokens count or weigh at least `wanted`; infinity reaches all of them."""
    low = -1
    high = 0x7F800000
    while high - low > 1:
        step = (high - low + 3) // 4
        first = tl.minimum(low + step, high)
        second = tl.minimum(first + step, high)
        third = tl.minimum(second + step, high)
        a = tl.zeros((BLOCK,), tl.float32)
        b = tl.zeros((BLOCK,), tl.float32)
        c = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, vocab, BLOCK):
            column = start + tl.arange(0, BLOCK)
            x = tl.load(row_ptr + column, mask=column < vocab, other=float("-inf")).to(tl.float32)
            a += reached(x, best, temperature, first.to(tl.float32, bitcast=True), COUNT)
            b += reached(x, best, temperature, second.to(tl.float32, bitcast=True), COUNT)
            c += reached(x, best, temperature, third.to(tl.float32, bitcast=True), COUNT)
        enough_a = tl.sum(a, axis=0) >= wanted
        enough_b = tl.sum(b, axis=0) >= wanted
        enough_c = tl.sum(c, axis=0) >= wanted
        low = tl.where(enough_a, low, tl.where(enough_b, first, tl.where(enough_c, second, third)))
        high = tl.where(enough_a, first, tl.where(enough_b, second, tl.where(enough_c, third, high)))
    return high.to(tl.float32, bitcast=True)


@triton.jit
def limit_kernel(
    logits_ptr, slots_ptr, floats_ptr, integers_ptr, max_ptr, sum_ptr, limit_ptr, stride, vocab, chunks,
    COLUMNS: tl.constexpr, BLOCK: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    slot = tl.load(slots_ptr + row)
    temperature = tl.load(floats_ptr + slot * COLUMNS)
    top_p = tl.load(floats_ptr + slot * COLUMNS + 1)
    min_p = tl.load(floats_ptr + slot * COLUMNS + 2)
    top_k = tl.load(integers_ptr + slot * 2 + 1)
    row_ptr = logits_ptr + row.to(tl.int64) * stride
    limit = float("inf")
    counts = (top_k > 0) & (top_k < vocab)
    if (temperature > 0) & (counts | (top_p < 1) | (min_p > 0)):
        part = tl.arange(0, CHUNKS)
        parts = row.to(tl.int64) * chunks + part
        best = tl.max(tl.load(max_ptr + parts, mask=part < chunks, other=float("-inf")), axis=0)
        if counts:
            limit = search(row_ptr, vocab, best, temperature, top_k.to(tl.float32), True, BLOCK)
        if top_p < 1:
            mass = tl.zeros((BLOCK,), tl.float32)
            for start in range(0, vocab, BLOCK):
                column = start + tl.arange(0, BLOCK)
                x = tl.load(row_ptr + column, mask=column < vocab, other=float("-inf")).to(tl.float32)
                mass += reached(x, best, temperature, limit, False)
            wanted = top_p * tl.sum(mass, axis=0)
            limit = tl.minimum(limit, search(row_ptr, vocab, best, temperature, wanted, False, BLOCK))
        if min_p > 0:
            limit = tl.minimum(limit, -tl.log(min_p))
        for chunk in range(chunks):
            column = chunk * BLOCK + tl.arange(0, BLOCK)
            x = tl.load(row_ptr + column, mask=column < vocab, other=float("-inf")).to(tl.float32)
            top = tl.load(max_ptr + row.to(tl.int64) * chunks + chunk)
            top = tl.where(top == float("-inf"), 0.0, top)
            kept = tl.where((best - x) / temperature <= limit, tl.exp((x - top) / temperature), 0.0)
            tl.store(sum_ptr + row.to(tl.int64) * chunks + chunk, tl.sum(kept, axis=0))
    tl.store(limit_ptr + row, limit)


@triton.jit
def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit
def uniform(seed, position):
    """See uniform.py."""
    bits = mix(mix(seed.to(tl.uint64)) + (position.to(tl.uint64) + 1) * 0x9E3779B97F4A7C15)
    return ((bits >> 41).to(tl.float32) + 0.5) * (1.0 / 8388608.0)


@triton.jit(do_not_specialize=["rows", "limited"])
def choose_kernel(
    logits_ptr, slots_ptr, positions_ptr, floats_ptr, integers_ptr, max_ptr, arg_ptr, sum_ptr, limit_ptr,
    good_ptr, drawn_ptr, last_ptr, stride, vocab, chunks, rows, limited,
    COLUMNS: tl.constexpr, CHECK: tl.constexpr, BLOCK: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    slot = tl.load(slots_ptr + row)
    part = tl.arange(0, CHUNKS)
    parts = row.to(tl.int64) * chunks + part
    top = tl.load(max_ptr + parts, mask=part < chunks, other=float("-inf"))
    arg = tl.load(arg_ptr + parts, mask=part < chunks, other=vocab)
    best = tl.max(top, axis=0)
    token = tl.min(tl.where(top == best, arg, vocab), axis=0)
    if CHECK:
        good = tl.min(arg, axis=0) >= 0
    else:
        good = tl.load(good_ptr + row) != 0
    temperature = tl.load(floats_ptr + slot * COLUMNS)
    if (temperature > 0) & good & (best > float("-inf")):
        weight = tl.load(sum_ptr + parts, mask=part < chunks, other=0.0) * tl.exp((top - best) / temperature)
        u = uniform(tl.load(integers_ptr + slot * 2), tl.load(positions_ptr + row).to(tl.int64))
        wanted = u * tl.sum(weight, axis=0)
        passed = (tl.cumsum(weight, axis=0) > wanted) & (weight > 0)
        chunk = tl.min(tl.where(passed, part, CHUNKS), axis=0)
        # A share that rounding lifts to the whole is the last token's.
        chunk = tl.minimum(chunk, tl.max(tl.where(weight > 0, part, 0), axis=0))
        before = tl.sum(tl.where(part < chunk, weight, 0.0), axis=0)
        column = chunk * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(logits_ptr + row.to(tl.int64) * stride + column, mask=column < vocab, other=float("-inf"))
        distance = (best - x.to(tl.float32)) / temperature
        limit = float("inf")
        if limited != 0:
            limit = tl.load(limit_ptr + row)
        one = tl.where(distance <= limit, tl.exp(-distance), 0.0)
        reaches = (before + tl.cumsum(one, axis=0) > wanted) & (one > 0)
        last = tl.max(tl.where(one > 0, column, 0), axis=0)
        token = tl.minimum(tl.min(tl.where(reaches, column, vocab), axis=0), last)
    token = tl.where(good & (token < vocab), token, 0).to(tl.int64)
    tl.store(drawn_ptr + row, token)
    tl.store(drawn_ptr + rows + row, good.to(tl.int64))
    tl.store(last_ptr + slot, token)


def draw_tokens_triton(
    logits: Tensor,
    slots: Tensor,
    positions: Tensor,
    floats: Tensor,
    integers: Tensor,
    last_tokens: Tensor,
    *,
    limited: bool,
    good: Tensor | None = None,
) -> Tensor:
    """See `draw_tokens`. logits: rows of any stride; floats: at least three columns."""
    rows, vocab = logits.shape
    require(logits.dtype in FLOATS and logits.stride(1) == 1, "logits must be floats, each row without gaps")
    require(vocab <= 1 << 24, f"a vocabulary of {vocab} tokens cannot be counted in float32")
    device = logits.device
    check_integers(torch.int64, device, slots=slots, integers=integers, last_tokens=last_tokens)
    require(positions.dtype in (torch.int32, torch.int64), "positions must be integers")
    require(slots.shape == positions.shape == (rows,), "one slot and one position for each row")
    require(floats.dtype == torch.float32 and floats.is_contiguous() and floats.shape[1] >= 3, "floats: [slots, 3..]")
    require(integers.shape == (floats.shape[0], 2), "integers: [slots, 2]")
    chunks = triton.cdiv(vocab, CHUNK)
    drawn = torch.empty((2, rows), dtype=torch.int64, device=device)
    if rows == 0:
        return drawn
    top, weight = torch.empty((2, rows, chunks), dtype=torch.float32, device=device)
    arg = torch.empty((rows, chunks), dtype=torch.int32, device=device)
    limit = torch.empty(rows if limited else 1, dtype=torch.float32, device=device)
    stride, columns = logits.stride(0), floats.shape[1]
    block = min(CHUNK, max(16, triton.next_power_of_2(vocab)))
    padded = max(2, triton.next_power_of_2(chunks))
    check = good is None
    survey_kernel[(rows, chunks)](
        logits, slots, floats, top, arg, weight, stride, vocab, chunks,
        COLUMNS=columns, CHECK=check, BLOCK=block, num_warps=4,
    )  # fmt: skip
    if limited:
        limit_kernel[(rows,)](
            logits, slots, floats, integers, top, weight, limit, stride, vocab, chunks,
            COLUMNS=columns, BLOCK=block, CHUNKS=padded, num_warps=16,
        )  # fmt: skip
    choose_kernel[(rows,)](
        logits, slots, positions, floats, integers, top, arg, weight, limit,
        drawn if good is None else good, drawn, last_tokens, stride, vocab, chunks, rows, int(limited),
        COLUMNS=columns, CHECK=check, BLOCK=block, CHUNKS=padded, num_warps=8,
    )  # fmt: skip
    return drawn
