"""The counter-based generator: (seed, position) -> one number, whatever else is drawn, on every device and rank.

With G = 2^64 / golden ratio and `mix` the finaliser of splitmix64, modulo 2^64:

    z = mix(mix(seed) + (position + 1) * G),    u = (z >> 41 + 1/2) / 2^23

Integers are int64 tensors, whose sums and products wrap on CPU and CUDA alike; u is exact in float32 and in (0, 1).
"""

from __future__ import annotations

import torch
from torch import Tensor


def signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = signed(0x9E3779B97F4A7C15)
_FIRST = signed(0xBF58476D1CE4E5B9)
_SECOND = signed(0x94D049BB133111EB)
_BITS = 23


def uniform(seeds: Tensor, positions: Tensor) -> Tensor:
    """float32 [n] in (0, 1) for int64 [n] seeds and positions."""
    bits = _mix(_mix(seeds) + (positions + 1) * _GOLDEN)
    return (_shift(bits, 64 - _BITS).to(torch.float32) + 0.5) * 2.0**-_BITS


def _mix(values: Tensor) -> Tensor:
    values = (values ^ _shift(values, 30)) * _FIRST
    values = (values ^ _shift(values, 27)) * _SECOND
    return values ^ _shift(values, 31)


def _shift(values: Tensor, count: int) -> Tensor:
    """Logical shift to the right; torch's own copies the sign."""
    return (values >> count) & ((1 << (64 - count)) - 1)
