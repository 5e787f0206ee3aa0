"""Quantisation to e4m3 in plain torch; also the CPU path."""

from __future__ import annotations

from torch import Tensor

from ..fp8 import LARGEST, Fp8Rows, to_fp8

SMALLEST_SCALE = 1e-12
"""A row of zeros has this scale: its values are zeros, and nothing is divided by zero."""


def quantize_fp8_reference(x: Tensor, group: int | None = None) -> Fp8Rows:
    """See `quantize_fp8`."""
    rows, size = x.shape
    grouped = x.float().view(rows, -1, group or size)
    scales = (grouped.abs().amax(-1) / LARGEST).clamp_min(SMALLEST_SCALE)
    values = to_fp8(grouped / scales.unsqueeze(-1))
    return Fp8Rows(values.view(rows, size), scales.view(-1) if group is None else scales)
