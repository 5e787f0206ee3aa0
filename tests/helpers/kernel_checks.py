"""What checks of kernels share: random inputs, and the error that a dtype allows."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """max|a-b| / max|b| under the dtype's tolerance, and nothing but numbers."""
    actual, expected = actual.double(), expected.double()
    assert actual.shape == expected.shape
    assert bool(torch.isfinite(actual).all()), "the kernel left or made a NaN"
    error = (actual - expected).abs().max() / expected.abs().max().clamp_min(1e-6)
    assert error.item() < TOLERANCE[dtype], f"relative error {error.item():.2e}"


def randn(*shape: int, dtype: torch.dtype, device: str) -> Tensor:
    return torch.randn(*shape).to(dtype=dtype, device=device)
