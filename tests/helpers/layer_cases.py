"""Checks of the kernels of a layer but attention."""

from __future__ import annotations

import torch
from torch import Tensor

from helpers.kernel_checks import assert_close, randn
from lightllm_rs.kernels.all_reduce_norm import TURNS, Mailbox, all_reduce_norm
from lightllm_rs.kernels.all_reduce_norm.mailbox import PROGRAMS
from lightllm_rs.kernels.all_reduce_norm.reference import all_reduce_norm_reference
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.kernels.rms_norm.kernel import rms_norm_triton
from lightllm_rs.kernels.rms_norm.reference import rms_norm_reference
from lightllm_rs.kernels.rotary_kv.kernel import rotary_kv_triton
from lightllm_rs.kernels.rotary_kv.reference import rotary_kv_reference
from lightllm_rs.kernels.silu_mul.kernel import silu_mul_triton
from lightllm_rs.kernels.silu_mul.reference import silu_mul_reference
from lightllm_rs.kernels.skinny_linear.kernel import skinny_linear_triton
from lightllm_rs.kernels.skinny_linear.reference import skinny_linear_reference


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


def rotary_fp8_case(
    device: str, dtype: torch.dtype, tokens: int, heads: int, kv_heads: int, head_dim: int, page_size: int, norm: bool
) -> None:
    """Into caches of e4m3, with values that it does not hold."""
    rotary_kv_case(device, dtype, tokens, heads, kv_heads, head_dim, page_size, norm, FP8, 200.0)
