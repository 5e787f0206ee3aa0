"""Kernel checks shared by the interpreter run (CPU) and the GPU run: each compares a Triton kernel to its reference.

Outputs start as NaN, so that what a kernel does not write shows; caches hold NaN wherever no row may look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.prefix_work import prefix_work, prefixes_of
from lightllm_rs.kernels.all_reduce_norm import TURNS, Mailbox, all_reduce_norm
from lightllm_rs.kernels.all_reduce_norm.mailbox import PROGRAMS
from lightllm_rs.kernels.all_reduce_norm.reference import all_reduce_norm_reference
from lightllm_rs.kernels.draw_tokens.kernel import draw_tokens_triton
from lightllm_rs.kernels.draw_tokens.reference import draw_tokens_reference
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.kernels.fp8_block_linear.kernel import fp8_block_linear_triton
from lightllm_rs.kernels.fp8_block_linear.reference import fp8_block_linear_reference
from lightllm_rs.kernels.paged_decode_attention.kernel import paged_decode_attention_triton
from lightllm_rs.kernels.paged_decode_attention.reference import paged_decode_attention_reference
from lightllm_rs.kernels.paged_prefill_attention.kernel import Tile, paged_prefill_attention_triton
from lightllm_rs.kernels.paged_prefill_attention.reference import paged_prefill_attention_reference
from lightllm_rs.kernels.quantize_fp8.kernel import quantize_fp8_triton
from lightllm_rs.kernels.quantize_fp8.reference import quantize_fp8_reference
from lightllm_rs.kernels.rms_norm.kernel import rms_norm_triton
from lightllm_rs.kernels.rms_norm.reference import rms_norm_reference
from lightllm_rs.kernels.rms_norm_fp8.kernel import rms_norm_fp8_triton
from lightllm_rs.kernels.rms_norm_fp8.reference import rms_norm_fp8_reference
from lightllm_rs.kernels.rotary_kv.kernel import rotary_kv_triton
from lightllm_rs.kernels.rotary_kv.reference import rotary_kv_reference
from lightllm_rs.kernels.silu_mul.kernel import silu_mul_triton
from lightllm_rs.kernels.silu_mul.reference import silu_mul_reference
from lightllm_rs.kernels.silu_mul_fp8.kernel import silu_mul_fp8_triton
from lightllm_rs.kernels.silu_mul_fp8.reference import silu_mul_fp8_reference
from lightllm_rs.kernels.skinny_linear.kernel import skinny_linear_triton
from lightllm_rs.kernels.skinny_linear.reference import skinny_linear_reference

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """max|a-b| / max|b| under the dtype's tolerance, and nothing but numbers."""
    actual, expected = actual.double(), expected.double()
    assert actual.shape == expected.shape
    assert bool(torch.isfinite(actual).all()), "the kernel left or made a NaN"
    error = (actual - expected).abs().max() / expected.abs().max().clamp_min(1e-6)
    assert error.item() < TOLERANCE[dtype], f"relative error {error.item():.2e}"


def randn(*shape: int, dtype: torch.dtype, device: str) -> Tensor:
    return torch.randn(*shape).to(dtype=dtype, device=device)


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


def rms_norm_case(device: str, dtype: torch.dtype, rows: int, size: int, residual: bool) -> None:
    x, weight = randn(rows, size, dtype=dtype, device=device), randn(size, dtype=dtype, device=device)
    extra = randn(rows, size, dtype=dtype, device=device) if residual else None
    for actual, expected in zip(
        rms_norm_triton(x, weight, 1e-5, extra), rms_norm_reference(x, weight, 1e-5, extra), strict=True
    ):
        assert_close(actual, expected, dtype)


def all_reduce_norm_case(
    device: str, dtype: torch.dtype, world: int, rows: int, room: int, size: int, residual: bool
) -> None:
    """All ranks in one process, one after the other: what a rank gets from those that come later is put there first."""
    element = torch.empty(0, dtype=dtype).element_size()
    memory = torch.zeros(world, -(-Mailbox.bytes(world, room, size, element) // 256) * 256, dtype=torch.uint8)
    memory = memory.to(device)
    bases = torch.tensor([one.data_ptr() for one in memory], device=device)
    ranks = [Mailbox(rank, world, room, size, bases) for rank in range(world)]
    flags_at = ranks[0].flags_at(element)
    count = TURNS * world * room * size
    boxes = memory[:, : count * element].view(dtype).view(world, TURNS, world, room, size)
    boxes.fill_(float("nan"))
    flags = memory[:, flags_at : flags_at + TURNS * PROGRAMS * world * 4].view(torch.int32)
    flags = flags.view(world, TURNS, PROGRAMS, world)
    weight = randn(size, dtype=dtype, device=device)
    extra = randn(rows, size, dtype=dtype, device=device) if residual else None
    for turn in (2, 1, 0, 1):
        parts = [randn(rows, size, dtype=dtype, device=device) for _ in range(world)]
        expected = all_reduce_norm_reference(parts, weight, 1e-5, extra)
        first: tuple[Tensor, Tensor] | None = None
        for rank, mailbox in enumerate(ranks):
            for later in range(rank + 1, world):
                boxes[rank, turn, later, :rows] = parts[later]
                flags[rank, turn, : min(rows, PROGRAMS), later] = 1
            found = all_reduce_norm(parts[rank], weight, 1e-5, extra, mailbox, turn)
            for actual, wanted in zip(found, expected, strict=True):
                assert_close(actual, wanted, dtype)
            first = found if first is None else first
            assert torch.equal(found[1], first[1]), "every rank has the same bits"
            for earlier in range(rank):  # they have run and got these rows before; the flag came once more
                assert torch.equal(boxes[earlier, turn, rank, :rows], parts[rank])
                flags[earlier, turn, :, rank] = 0
        assert not flags.any(), "each flag is lowered by who waited for it"


def silu_mul_case(device: str, dtype: torch.dtype, rows: int, inner: int) -> None:
    gate_up = randn(rows, 2 * inner, dtype=dtype, device=device) * 4
    assert_close(silu_mul_triton(gate_up), silu_mul_reference(gate_up), dtype)


def skinny_linear_case(device: str, dtype: torch.dtype, rows: int, outputs: int, inputs: int, parts: str) -> None:
    """parts: which of bias, norm, residual, silu and scale (e4m3 weights) there are, by their first two letters."""
    x = randn(rows, inputs, dtype=dtype, device=device)
    weight = randn(outputs, inputs, dtype=dtype, device=device)
    bias = randn(outputs, dtype=dtype, device=device) if "bi" in parts else None
    norm = (randn(inputs, dtype=dtype, device=device), 1e-5) if "no" in parts else None
    silu = "si" in parts
    width = outputs // 2 if silu else outputs
    residual = randn(rows, width, dtype=dtype, device=device) if "re" in parts else None
    scale = None
    if "sc" in parts:
        weight, scale = weight.to(torch.float8_e4m3fn), torch.rand(outputs).to(device)
    arguments = (x, weight, bias, norm, residual, silu, scale)
    assert_close(skinny_linear_triton(*arguments), skinny_linear_reference(*arguments), dtype)


def rotary_kv_case(
    device: str,
    dtype: torch.dtype,
    tokens: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    page_size: int,
    norm: bool,
    stored: torch.dtype | None = None,
    spread: float = 1.0,
) -> None:
    """stored: the caches' dtype, where it is not `dtype`. spread: standard deviation of what is stored."""
    qkv = randn(tokens, (heads + 2 * kv_heads) * head_dim, dtype=dtype, device=device) * spread
    angles = torch.rand(tokens, head_dim // 2) * 6
    cos, sin = angles.cos(), angles.sin()
    rope = torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)), 1).to(device)
    pages = tokens // page_size + 2
    slots = torch.randperm(pages * page_size)[:tokens]
    slots[::5] = -1
    slots = slots.to(device)
    norms = [randn(head_dim, dtype=dtype, device=device) if norm else None for _ in range(2)]
    found, wanted = (
        [torch.full((pages, page_size, kv_heads, head_dim), -7.0, dtype=stored or dtype, device=device) for _ in "kv"]
        for _ in range(2)
    )
    actual = rotary_kv_triton(qkv, rope, *found, slots, *norms, 1e-6)
    expected = rotary_kv_reference(qkv, rope, *wanted, slots, *norms, 1e-6)
    assert_close(actual, expected, dtype)
    for cache, reference in zip(found, wanted, strict=True):
        if stored is None:
            assert_close(cache, reference, dtype)
        else:  # the reference rounds twice, to dtype and to e4m3, whose neighbours are 1/8 apart at most
            torch.testing.assert_close(cache.float(), reference.float(), rtol=0.126, atol=2**-9)
            assert (cache.float() != reference.float()).float().mean().item() < 0.05
        assert bool((cache.float() == -7.0).any()), "negative slots are written nowhere"


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


def quantize_fp8_case(device: str, dtype: torch.dtype, rows: int, size: int, group: int | None) -> None:
    x = randn(rows, size, dtype=dtype, device=device) * torch.logspace(-3, 3, rows, device=device)[:, None].to(dtype)
    x[rows // 2] = 0.0
    x[0, -1] = float("nan")
    if device != "cpu":  # numpy, and so the interpreter, warns of inf / inf
        x[-1, 0] = float("inf")
    values, scales = quantize_fp8_triton(x, group)
    wanted, wanted_scales = quantize_fp8_reference(x, group)
    torch.testing.assert_close(scales, wanted_scales, rtol=1e-6, atol=0.0, equal_nan=True)
    good = wanted_scales.view(rows, -1).isfinite().repeat_interleave(group or size, dim=1)
    assert not bool(good[0, -1]), "a NaN must not get lost"
    values, wanted = values[good], wanted[good]
    # A quotient whose last bit differs may fall to the other side between two neighbours, which are 1/8 apart at most.
    torch.testing.assert_close(values.float(), wanted.float(), rtol=0.126, atol=2**-9)
    assert (values.float() != wanted.float()).sum().item() <= 0.01 * size * rows


def rounded_close(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    """Values and scales; a number near the middle between two of e4m3, 1/8 apart at most, may fall to either."""
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-5, atol=0.0)
    torch.testing.assert_close(found[0].float(), wanted[0].float(), rtol=0.126, atol=2**-9)
    assert (found[0].float() != wanted[0].float()).float().mean().item() < 0.02


def rms_norm_fp8_case(device: str, dtype: torch.dtype, rows: int, size: int, residual: bool) -> None:
    x, weight = randn(rows, size, dtype=dtype, device=device), randn(size, dtype=dtype, device=device)
    extra = randn(rows, size, dtype=dtype, device=device) if residual else None
    found, total = rms_norm_fp8_triton(x, weight, 1e-5, extra)
    assert_close(total, rms_norm_fp8_reference(x, weight, 1e-5, extra)[1], dtype)
    rounded_close(found, rms_norm_fp8_reference(total, weight, 1e-5)[0])


def silu_mul_fp8_case(device: str, dtype: torch.dtype, rows: int, inner: int) -> None:
    gate_up = randn(rows, 2 * inner, dtype=dtype, device=device) * 4
    rounded_close(silu_mul_fp8_triton(gate_up), silu_mul_fp8_reference(gate_up))


def fp8_block_linear_case(device: str, dtype: torch.dtype, tokens: int, outputs: int, inputs: int, bias: bool) -> None:
    x, x_scale = quantize_fp8_reference(randn(tokens, inputs, dtype=torch.float32, device=device), 128)
    weight, weight_scale = quantize_fp8_reference(randn(outputs, inputs, dtype=torch.float32, device=device), 128)
    extra = randn(outputs, dtype=dtype, device=device) if bias else None
    arguments = (x, x_scale * 3, weight, weight_scale / 5, extra, dtype)
    # The tensor cores keep fewer bits of a group's sum than float32 has.
    rounding = torch.float16 if dtype == torch.float32 and device == "cuda" else dtype
    assert_close(fp8_block_linear_triton(*arguments), fp8_block_linear_reference(*arguments), rounding)


def rotary_fp8_case(
    device: str, dtype: torch.dtype, tokens: int, heads: int, kv_heads: int, head_dim: int, page_size: int, norm: bool
) -> None:
    """Into caches of e4m3, with values that it does not hold."""
    rotary_kv_case(device, dtype, tokens, heads, kv_heads, head_dim, page_size, norm, FP8, 200.0)


SETTINGS = [
    (0.0, 1.0, 0.0, 0),
    (1.0, 1.0, 0.0, 0),
    (0.8, 0.9, 0.0, 0),
    (1.2, 1.0, 0.0, 40),
    (1.0, 0.95, 0.05, 20),
    (1.5, 0.3, 0.0, 0),
    (1.0, 1.0, 0.1, 0),
    (1.0, 1.0, 0.0, 1),
    (0.01, 1.0, 0.0, 0),
]
"""Temperature, top_p, min_p and top_k."""


def draw_case(device: str, dtype: torch.dtype, rows: int, vocab: int, limited: bool, changed: bool) -> None:
    """`changed` logits may hold infinities; whether they were good is known before."""
    logits = randn(rows, vocab + 3, dtype=dtype, device=device)[:, :vocab] * 3
    good = torch.ones(rows, dtype=torch.bool, device=device)
    if changed:
        logits[:, 1 :: max(2, vocab // 7)] = -torch.inf
        good[rows // 2] = False
    elif rows > 2:
        logits[1, vocab // 2], logits[rows - 1, vocab - 1] = float("nan"), float("inf")
    slots = torch.randperm(rows + 2)[:rows].to(device)
    floats, integers = torch.full((rows + 2, 6), float("nan")), torch.full((rows + 2, 2), -1)
    for row, slot in enumerate(slots.tolist()):
        *of_row, top_k = SETTINGS[row % len(SETTINGS)]
        floats[slot, :3], integers[slot] = torch.tensor(of_row), torch.tensor([row * 2**54, top_k])
    positions = torch.arange(rows, dtype=torch.int32, device=device) * 31
    last = torch.full((2, rows + 2), -1, device=device)
    shared = (logits, slots, positions, floats.to(device), integers.to(device))
    kwargs = {"limited": limited, "good": good if changed else None}
    with np.errstate(all="ignore"):  # numbers that are not finite, in the interpreter
        drawn = draw_tokens_triton(*shared, last[0], **kwargs)
    expected = draw_tokens_reference(*shared, last[1], **kwargs)
    assert drawn[1].tolist() == expected[1].tolist()
    fine = drawn[1] == 1
    assert int((drawn[0] != expected[0])[fine].sum()) <= rows // 50  # at borders sums round differently
    assert bool(((drawn[0] >= 0) & (drawn[0] < vocab)).all())
    assert last[0, slots].tolist() == drawn[0].tolist()
    assert int((last[0] == -1).sum()) == 2, "other slots are left alone"


Case = tuple[Callable[..., None], tuple[object, ...]]

# Small enough for the interpreter: odd sizes, sizes of one, page sizes that no block divides, every GQA ratio in use.
SMALL: list[Case] = [
    (rms_norm_case, (3, 65, True)),
    (rms_norm_case, (1, 64, False)),
    (rms_norm_case, (5, 1, True)),
    (all_reduce_norm_case, (2, 3, 5, 65, True)),
    (all_reduce_norm_case, (3, 1, 1, 64, False)),
    (silu_mul_case, (3, 1100)),
    (silu_mul_case, (1, 7)),
    (skinny_linear_case, (1, 37, 64, "")),
    (skinny_linear_case, (3, 38, 1160, "bi no re si")),
    (skinny_linear_case, (8, 5, 100, "no re")),
    (skinny_linear_case, (1, 1, 1, "bi no")),
    (rotary_kv_case, (7, 4, 2, 16, 3, False)),
    (rotary_kv_case, (1, 9, 3, 80, 16, True)),
    (rotary_kv_case, (6, 3, 3, 6, 1, True)),
    (decode_case, ([1, 5, 33, 70], 4, 2, 16, 16, None)),
    (decode_case, ([0, 130, 64, 1], 9, 3, 80, 5, 4)),
    (decode_case, ([17], 3, 3, 64, 1, 2)),
    (decode_case, ([40, 2], 16, 1, 8, 256, 1)),
    (prefix_case, ([70, 33, 34, 200], [(1, 2, 2)], 4, 2, 16, 16, None)),
    (prefix_case, ([9, 12, 11, 300, 301, 290], [(0, 3, 1), (3, 3, 57)], 9, 3, 80, 5, 4)),
    (prefix_case, ([600] * 17 + [5], [(0, 17, 8)], 2, 1, 8, 64, 2)),
    (prefill_case, ([(5, 5), (1, 1), (3, 40)], 4, 2, 16, 16)),
    (prefill_case, ([(33, 70), (40, 40)], 3, 1, 80, 7)),
    (prefill_case, ([(1, 9), (2, 2)], 3, 3, 8, 1)),
    (prefill_case, ([(33, 70), (1, 64), (16, 33), (0, 9), (5, 5)], 4, 2, 16, 16, None, Tile(16, 16, 4, 2, True))),
    (decode_case, ([5, 33], 4, 2, 16, 16, 2, FP8)),
    (prefix_case, ([70, 33, 34], [(1, 2, 2)], 4, 2, 16, 16, None, FP8)),
    (prefill_case, ([(5, 5), (3, 40)], 4, 2, 16, 16, FP8)),
    (quantize_fp8_case, (5, 70, None)),
    (quantize_fp8_case, (3, 96, 32)),
    (quantize_fp8_case, (1, 2, None)),
    (rotary_fp8_case, (7, 4, 2, 16, 3, False)),
    (rms_norm_fp8_case, (3, 65, True)),
    (rms_norm_fp8_case, (1, 64, False)),
    (silu_mul_fp8_case, (3, 70)),
    (fp8_block_linear_case, (3, 70, 256, True)),
    (fp8_block_linear_case, (17, 16, 128, False)),
    (draw_case, (9, 50, True, False)),
    (draw_case, (10, 4500, True, True)),
    (draw_case, (2, 4097, False, False)),
    (draw_case, (1, 1, True, False)),
]

# A GPU host runs these too, in every dtype.
LARGE: list[Case] = [
    (draw_case, (300, 128256, True, False)),
    (draw_case, (300, 32000, False, True)),
    (draw_case, (64, 151936, True, True)),
    (rms_norm_case, (300, 4096, True)),
    (rms_norm_case, (17, 14337, False)),
    (all_reduce_norm_case, (2, 300, 512, 4096, True)),
    (all_reduce_norm_case, (4, 1, 512, 4096, True)),
    (all_reduce_norm_case, (8, 129, 200, 1100, False)),
    (silu_mul_case, (513, 14336)),
    (skinny_linear_case, (1, 6144, 4096, "no")),
    (skinny_linear_case, (1, 28672, 4096, "no si")),
    (skinny_linear_case, (2, 4097, 14336, "re bi")),
    (skinny_linear_case, (4, 2050, 4096, "no re si")),
    *[(skinny_linear_case, (rows, 4096, 4104, "no re si sc")) for rows in (1, 3, 4, 8)],
    *[(rotary_kv_case, (123, 32, 8, head_dim, 16, False)) for head_dim in (64, 80, 96, 128, 256)],
    (rotary_kv_case, (123, 16, 8, 128, 64, True)),
    (rotary_fp8_case, (123, 32, 8, 128, 16, False)),
    (rotary_fp8_case, (123, 16, 8, 128, 64, True)),
    (rms_norm_fp8_case, (300, 4096, True)),
    (rms_norm_fp8_case, (17, 14336, False)),
    (silu_mul_fp8_case, (513, 14336)),
    *[(fp8_block_linear_case, (tokens, 1040, 4096, True)) for tokens in (1, 16, 33, 300)],
    (quantize_fp8_case, (300, 4096, None)),
    (quantize_fp8_case, (65, 14336, None)),
    (quantize_fp8_case, (65, 14336, 128)),
    *[
        (decode_case, ([1, 4000, 77, 0, 1025, 2048], 32, 8, head_dim, page_size, None))
        for head_dim, page_size in ((64, 1), (80, 16), (96, 32), (128, 16), (128, 64), (256, 256))
    ],
    (decode_case, ([3000] * 40, 9, 3, 64, 16, None)),
    (decode_case, ([900], 32, 8, 128, 16, 64)),
    *[
        (prefix_case, ([*range(3400 - n, 3400)], [(1, n - 2, 3072 // page_size)], 32, 8, 128, page_size, None))
        for n, page_size in ((6, 16), (40, 16), (64, 64), (200, 128))
    ],
    *[
        (prefill_case, ([(1000, 1000), (1, 513), (257, 900), (128, 128)], heads, kv_heads, head_dim, page_size))
        for heads, kv_heads, head_dim, page_size in (
            (9, 3, 64, 16),
            (8, 2, 80, 1),
            (8, 8, 96, 48),
            (32, 8, 128, 16),
            (4, 1, 256, 256),
        )
    ],
    (decode_case, ([1, 4000, 77, 0, 1025, 2048], 32, 8, 128, 64, None, FP8)),
    (prefix_case, ([*range(3300, 3364)], [(0, 60, 48)], 32, 8, 128, 64, None, FP8)),
    (prefill_case, ([(1000, 1000), (1, 513), (257, 900)], 32, 8, 128, 16, FP8)),
]


def identity(value: object) -> str:
    """A readable test id of a case or a dtype."""
    if not isinstance(value, tuple):
        return str(value).removeprefix("torch.")
    check, arguments = value
    return f"{check.__name__}-{'-'.join(str(argument) for argument in arguments)}".replace(" ", "")
