"""A matrix product with a weight of 8-bit floats (e4m3) and scales.

On a GPU the activations are rounded to e4m3 too, each token with a scale of its own, and the tensor cores multiply
8-bit numbers. A CPU has no such arithmetic: it rounds in the same way and multiplies in its own dtype, which gives the
same numbers but saves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..checkpoint import Quantization, UnsupportedModel
from ..kernels import skinny_linear
from ..kernels.fp8 import FP8, Fp8Rows
from ..kernels.quantize_fp8 import quantize_fp8
from .matrix import Matrix
from .weights import Weight

MULTIPLE = 16
"""Of both sides of a matrix, for the GPU's products."""


class Fp8Matrix(nn.Module):
    """y = x W^T + b with W = weight * scale. weight: e4m3 [rows, columns]; scale: float32 [rows].

    Attributes:
        group: inputs of a token that share a scale; None: all.
        rounds_activations: on a CPU, whether x is rounded as on a GPU; False tells what the weights alone cost.
    """

    group: int | None = None

    def __init__(
        self,
        rows: int,
        columns: int,
        bias: bool,
        quantization: Quantization,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        if device.type == "cuda" and dtype != torch.bfloat16:
            raise UnsupportedModel("FP8 weights need --dtype bfloat16 on a GPU")
        if device.type == "cuda" and (rows % MULTIPLE or columns % MULTIPLE):
            raise UnsupportedModel(f"a {rows} by {columns} matrix cannot be FP8: both must be multiples of {MULTIPLE}")
        self.quantization, self.dtype = quantization, dtype
        self.weight: Tensor | None = torch.empty(rows, columns, dtype=FP8, device=device)
        self.scale = torch.empty(rows, dtype=torch.float32, device=device)
        self.bias = torch.empty(rows, dtype=dtype, device=device) if bias else None
        self.rounds_activations = True
        self.plain: Matrix | None = None

    def wanted(self, name: str, at: slice, shape: tuple[int, int], part: tuple[slice, slice]) -> Iterator[Weight]:
        """See `Matrix.wanted`; the scales of a checkpoint that is quantised already are tensors of their own."""
        weight, (rows, columns) = self.weight, part
        assert weight is not None, "weights are asked for before packing"
        target, scale = weight[at], self.scale[at]

        def quantise(source: Tensor) -> None:
            # Whole rows, whatever part of them is kept: the scales shall not depend on the number of ranks.
            source = source[rows].to(weight.device, self.dtype if weight.is_cuda else torch.float32)
            values, scales = quantize_fp8(source.contiguous())
            target.copy_(values[:, columns])
            scale.copy_(scales)

        if self.quantization.scales == "load":
            yield Weight(f"{name}.weight", shape, quantise)
            return
        yield Weight(f"{name}.weight", shape, lambda source: copy(target, source[rows, columns]), FP8)
        yield Weight(f"{name}.weight_scale", (shape[0], 1), lambda source: copy(scale, source[rows, 0]))

    def pack(self) -> None:
        """On a CPU: bring the weight into the dtype and layout that it multiplies fast; the 8-bit one is given back."""
        if self.weight is None or self.weight.is_cuda:
            return
        rows, columns = self.weight.shape
        plain = Matrix(rows, columns, False, self.dtype, self.weight.device)
        plain.weight = self.dequantised().to(self.dtype)
        plain.bias = self.bias
        plain.pack()
        self.plain, self.weight = plain, None

    def dequantised(self) -> Tensor:
        """float32 [rows, columns]."""
        assert self.weight is not None, "asked for before packing"
        return self.weight.float() * self.scale[:, None]

    def fuses(self, x: Tensor) -> bool:
        """See `Matrix.fuses`."""
        return self.group is None and self.weight is not None and skinny_linear.fits(x.shape[0], self.weight)

    def fused(
        self, x: Tensor, norm: tuple[Tensor, float] | None = None, residual: Tensor | None = None, silu: bool = False
    ) -> Tensor:
        """See `Matrix.fused`. Few rows are not rounded: it is the weight that takes the time."""
        assert self.weight is not None, "asked for where `fuses` says so"
        return skinny_linear.skinny_linear(x, self.weight, self.bias, norm, residual, silu, self.scale)

    def rounds(self, x: Tensor) -> bool:
        """Whether so many tokens as x has are rounded with one scale each, so that the kernel before may do it."""
        return self.group is None and (self.plain is None or self.rounds_activations) and not self.fuses(x)

    def forward(self, x: Tensor | Fp8Rows) -> Tensor:
        """x: [T, columns], rounded or not -> [T, rows]."""
        if isinstance(x, Tensor):
            if self.fuses(x):
                return self.fused(x)
            if self.plain is None or self.rounds_activations:
                x = quantize_fp8(x, self.group)
        if self.plain is None:
            assert isinstance(x, Fp8Rows), "rounded above"
            return self.product(x.values, x.scales)
        out: Tensor = self.plain(x.dequantised(self.dtype) if isinstance(x, Fp8Rows) else x)
        return out

    def product(self, values: Tensor, scales: Tensor) -> Tensor:
        """The layer on a GPU, on what `quantize_fp8` made of x."""
        assert self.weight is not None, "a weight is either here or packed"
        return torch._scaled_mm(
            values,
            self.weight.t(),
            scale_a=scales[:, None],
            scale_b=self.scale[None, :],
            bias=self.bias,
            out_dtype=self.dtype,
            use_fast_accum=True,
        )


def copy(target: Tensor, source: Tensor) -> None:
    target.copy_(source)
