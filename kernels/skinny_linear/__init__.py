"""A linear layer for few rows, where all that counts is how fast the weight is read; with what stands around it."""

from __future__ import annotations

from torch import Tensor

from ..checks import FLOATS
from ..fp8 import FP8
from .reference import skinny_linear_reference

__all__ = ["fits", "skinny_linear"]


def fits(rows: int, weight: Tensor) -> bool:
    """Whether `skinny_linear` takes so many rows, and is faster than the library's product and separate kernels."""
    if not weight.is_cuda or weight.dtype not in (*FLOATS, FP8):
        return False
    from .tiles import most_rows

    return 0 < rows <= most_rows(weight)


def skinny_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    norm: tuple[Tensor, float] | None = None,
    residual: Tensor | None = None,
    silu: bool = False,
    scale: Tensor | None = None,
) -> Tensor:
    """activation(norm(x) (s W)^T + b) + residual, [T, outputs] in x's dtype, rounded once at the end.

    x: [T, inputs], few rows (see `fits`). weight: [outputs, inputs] in x's dtype, or e4m3 with a scale.
    scale: float32 [outputs], of the rows of W. bias: [outputs].
    norm: the weight [inputs] and epsilon of an RMS norm of x.
    silu: the outputs are gates, then ups; y = silu(gate) * up, half as wide. residual: [T, width of y].
    """
    if x.is_cuda:
        from .kernel import skinny_linear_triton

        return skinny_linear_triton(x, weight, bias, norm, residual, silu, scale)
    return skinny_linear_reference(x, weight, bias, norm, residual, silu, scale)
