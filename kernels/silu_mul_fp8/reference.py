"""silu(gate) * up and quantisation in plain torch; also the CPU path."""

from __future__ import annotations

from torch import Tensor

from ..fp8 import Fp8Rows
from ..quantize_fp8.reference import quantize_fp8_reference
from ..silu_mul.reference import silu_mul_reference


def silu_mul_fp8_reference(gate_up: Tensor) -> Fp8Rows:
    """See `silu_mul_fp8`."""
    return quantize_fp8_reference(silu_mul_reference(gate_up.float()))
