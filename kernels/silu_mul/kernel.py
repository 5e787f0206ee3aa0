"""silu(gate) * up in Triton: y = g / (1 + exp(-g)) * u, in float32, rounded once."""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_floats, require
from ..dependent_launch import dependent_launch, start_next, wait_previous

BLOCK = 1024


@triton.jit
def silu_mul_kernel(gate_up_ptr, out_ptr, inner, BLOCK: tl.constexpr, PDL: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < inner
    start_next(PDL)
    wait_previous(PDL)
    gate = tl.load(gate_up_ptr + row * 2 * inner + column, mask=mask, other=0.0).to(tl.float32)
    up = tl.load(gate_up_ptr + row * 2 * inner + inner + column, mask=mask, other=0.0).to(tl.float32)
    y = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(out_ptr + row * inner + column, y.to(out_ptr.dtype.element_ty), mask=mask)


def silu_mul_triton(gate_up: Tensor) -> Tensor:
    """See `silu_mul`. gate_up: contiguous [T, 2 * inner]."""
    require(gate_up.dim() == 2 and gate_up.shape[1] % 2 == 0, f"gate_up must be [T, 2 n], not {list(gate_up.shape)}")
    check_floats(gate_up=gate_up)
    rows, inner = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty((rows, inner), dtype=gate_up.dtype, device=gate_up.device)
    if rows:
        grid = (rows, triton.cdiv(inner, BLOCK))
        silu_mul_kernel[grid](gate_up, out, inner, BLOCK=BLOCK, num_warps=4, **dependent_launch(gate_up))
    return out
