"""The gated activation of the MLP, rounded to e4m3 for the product that follows."""

from __future__ import annotations

from torch import Tensor

from ..fp8 import Fp8Rows
from .reference import silu_mul_fp8_reference

__all__ = ["silu_mul_fp8"]


def silu_mul_fp8(gate_up: Tensor) -> Fp8Rows:
    """(values, scales), e4m3 [T, inner] and float32 [T]: `quantize_fp8` of silu(gate) * up, rounded once.

    gate_up: [T, 2 * inner], gate first.
    """
    if gate_up.is_cuda:
        from .kernel import silu_mul_fp8_triton

        return silu_mul_fp8_triton(gate_up)
    return silu_mul_fp8_reference(gate_up)
