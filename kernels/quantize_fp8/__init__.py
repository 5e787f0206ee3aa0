"""Rows rounded to 8-bit floating point (e4m3), each with a scale of its own."""

from __future__ import annotations

from torch import Tensor

from ..fp8 import Fp8Rows
from .reference import quantize_fp8_reference

__all__ = ["quantize_fp8"]


def quantize_fp8(x: Tensor, group: int | None = None) -> Fp8Rows:
    """(values, scales): e4m3 [T, size] and float32 [T, size / group], with x ~ values * scales of their group.

    x: [T, size]. group: neighbours in a row that share a scale; None: the whole row, and the scales are [T].
    The scale is the group's largest absolute value / 448, so that nothing saturates. The
    scale of a group with a NaN or an infinity is not finite, and so is nothing that is made of the group.
    """
    if x.is_cuda:
        from .kernel import quantize_fp8_triton

        return quantize_fp8_triton(x, group)
    return quantize_fp8_reference(x, group)
