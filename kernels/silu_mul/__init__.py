"""The gated activation of the MLP: silu(gate) * up."""

from __future__ import annotations

from torch import Tensor

from .cpu import silu_mul_cpu

__all__ = ["silu_mul"]


def silu_mul(gate_up: Tensor) -> Tensor:
    """silu(gate) * up, [T, inner], of gate_up [T, 2 * inner] (gate first), in its dtype."""
    if gate_up.is_cuda:
        from .kernel import silu_mul_triton

        return silu_mul_triton(gate_up)
    return silu_mul_cpu(gate_up)
