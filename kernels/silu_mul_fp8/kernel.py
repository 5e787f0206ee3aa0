"""silu(gate) * up and quantisation in Triton.

y = g / (1 + exp(-g)) * u;  scale = max|y| / 448;  the values are y / scale.
One program a row: the scale needs all of it.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_floats, require
from ..fp8 import FP8, LARGEST, Fp8Rows
from ..quantize_fp8.kernel import round_row
from ..quantize_fp8.reference import SMALLEST_SCALE


@triton.jit
def silu_mul_fp8_kernel(
    gate_up_ptr,
    y_ptr,
    scale_ptr,
    inner,
    BLOCK: tl.constexpr,
    LARGEST: tl.constexpr,
    SMALLEST_SCALE: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < inner
    gate = tl.load(gate_up_ptr + row * 2 * inner + column, mask=mask, other=0.0).to(tl.float32)
    up = tl.load(gate_up_ptr + row * 2 * inner + inner + column, mask=mask, other=0.0).to(tl.float32)
    values, scale = round_row(gate / (1.0 + tl.exp(-gate)) * up, LARGEST, SMALLEST_SCALE)
    tl.store(y_ptr + row * inner + column, values.to(y_ptr.dtype.element_ty), mask=mask)
    tl.store(scale_ptr + row, scale)


def silu_mul_fp8_triton(gate_up: Tensor) -> Fp8Rows:
    """See `silu_mul_fp8`. gate_up: contiguous [T, 2 * inner], inner at most 65,536."""
    require(gate_up.dim() == 2 and gate_up.shape[1] % 2 == 0, f"gate_up must be [T, 2 n], not {list(gate_up.shape)}")
    check_floats(gate_up=gate_up)
    rows, inner = gate_up.shape[0], gate_up.shape[1] // 2
    require(0 < inner <= 65536, f"a row of {inner} does not fit one program")
    values = torch.empty((rows, inner), dtype=FP8, device=gate_up.device)
    scales = torch.empty(rows, dtype=torch.float32, device=gate_up.device)
    if rows:
        block = triton.next_power_of_2(inner)
        silu_mul_fp8_kernel[(rows,)](
            gate_up,
            values,
            scales,
            inner,
            BLOCK=block,
            LARGEST=LARGEST,
            SMALLEST_SCALE=SMALLEST_SCALE,
            num_warps=min(16, max(1, block // 512)),
        )
    return Fp8Rows(values, scales)
