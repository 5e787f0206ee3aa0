"""Root mean square norm, fused with the residual addition before it."""

from __future__ import annotations

from torch import Tensor

from .reference import rms_norm_reference

__all__ = ["rms_norm"]


def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(norm(x + residual) * weight, x + residual), each [T, hidden] in x's dtype; without a residual the second is x.

    weight: [hidden]. The sum is rounded to x's dtype before the norm, as the unfused operations would.
    """
    if x.is_cuda:
        from .kernel import rms_norm_triton

        return rms_norm_triton(x, weight, eps, residual)
    return rms_norm_reference(x, weight, eps, residual)
