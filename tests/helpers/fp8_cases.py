"""Checks of the kernels that round to e4m3 or multiply what was rounded."""

from __future__ import annotations

import torch
from torch import Tensor

from helpers.kernel_checks import assert_close, randn
from lightllm_rs.kernels.fp8_block_linear.kernel import fp8_block_linear_triton
from lightllm_rs.kernels.fp8_block_linear.reference import fp8_block_linear_reference
from lightllm_rs.kernels.quantize_fp8.kernel import quantize_fp8_triton
from lightllm_rs.kernels.quantize_fp8.reference import quantize_fp8_reference
from lightllm_rs.kernels.rms_norm_fp8.kernel import rms_norm_fp8_triton
from lightllm_rs.kernels.rms_norm_fp8.reference import rms_norm_fp8_reference
from lightllm_rs.kernels.silu_mul_fp8.kernel import silu_mul_fp8_triton
from lightllm_rs.kernels.silu_mul_fp8.reference import silu_mul_fp8_reference


def quantize_fp8_case(device: str, dtype: torch.dtype, rows: int, size: int, group: int | None) -> None:
    x = randn(rows, size, dtype=dtype, device=device) * torch.logspace(-3, 3, rows, device=device)[:, None].to(dtype)
    x[rows // 2] = 0.0
    x[0, -1] = float("nan")
    if device != "cpu":  # numpy, and so the interpreter, warns of inf / inf
        x[-1, 0] = float("inf")
    values, scales = quantize_fp8_triton(x, group)
    wanted, wanted_scales = quantize_fp8_reference(x, group)
    torch.testing.assert_close(scales, wanted_scales, rtol=1e-6, atol=0.0, equal_nan=True)
    good = wanted_scales.view(rows, -1).isfinite().repeat_interleave(group or size, dim=1)
    assert not bool(good[0, -1]), "a NaN must not get lost"
    values, wanted = values[good], wanted[good]
    # A quotient whose last bit differs may fall to the other side between two neighbours, which are 1/8 apart at most.
    torch.testing.assert_close(values.float(), wanted.float(), rtol=0.126, atol=2**-9)
    assert (values.float() != wanted.float()).sum().item() <= 0.01 * size * rows


def rounded_close(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    """Values and scales; a number near the middle between two of e4m3, 1/8 apart at most, may fall to either."""
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-5, atol=0.0)
    torch.testing.assert_close(found[0].float(), wanted[0].float(), rtol=0.126, atol=2**-9)
    assert (found[0].float() != wanted[0].float()).float().mean().item() < 0.02


def rms_norm_fp8_case(device: str, dtype: torch.dtype, rows: int, size: int, residual: bool) -> None:
    x, weight = randn(rows, size, dtype=dtype, device=device), randn(size, dtype=dtype, device=device)
    extra = randn(rows, size, dtype=dtype, device=device) if residual else None
    found, total = rms_norm_fp8_triton(x, weight, 1e-5, extra)
    assert_close(total, rms_norm_fp8_reference(x, weight, 1e-5, extra)[1], dtype)
    rounded_close(found, rms_norm_fp8_reference(total, weight, 1e-5)[0])


def silu_mul_fp8_case(device: str, dtype: torch.dtype, rows: int, inner: int) -> None:
    gate_up = randn(rows, 2 * inner, dtype=dtype, device=device) * 4
    rounded_close(silu_mul_fp8_triton(gate_up), silu_mul_fp8_reference(gate_up))


def fp8_block_linear_case(device: str, dtype: torch.dtype, tokens: int, outputs: int, inputs: int, bias: bool) -> None:
    x, x_scale = quantize_fp8_reference(randn(tokens, inputs, dtype=torch.float32, device=device), 128)
    weight, weight_scale = quantize_fp8_reference(randn(outputs, inputs, dtype=torch.float32, device=device), 128)
    extra = randn(outputs, dtype=dtype, device=device) if bias else None
    arguments = (x, x_scale * 3, weight, weight_scale / 5, extra, dtype)
    # The tensor cores keep fewer bits of a group's sum than float32 has.
    rounding = torch.float16 if dtype == torch.float32 and device == "cuda" else dtype
    assert_close(fp8_block_linear_triton(*arguments), fp8_block_linear_reference(*arguments), rounding)
