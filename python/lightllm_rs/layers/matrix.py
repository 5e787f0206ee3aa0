"""A matrix product with a weight: for few rows our own kernel, which takes what stands around the product along, cuBLAS
for more; prepacked oneDNN on an x86 CPU, plain torch elsewhere."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import skinny_linear
from .weights import Weight, part_of

# oneDNN chooses the packed layout for a number of rows; the one for 16 serves 1 to hundreds of rows well.
PACKED_FOR_ROWS = 16


class Matrix(nn.Module):
    """y = x W^T + b. weight: [rows, columns]; bias: [rows] or None. Uninitialised until a layer stores them."""

    def __init__(self, rows: int, columns: int, bias: bool, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.weight: Tensor | None = torch.empty(rows, columns, dtype=dtype, device=device)
        self.bias = torch.empty(rows, dtype=dtype, device=device) if bias else None
        self.packed: Tensor | None = None

    def wanted(self, name: str, at: slice, shape: tuple[int, int], part: tuple[slice, slice]) -> Iterator[Weight]:
        """What fills rows `at`: the `part` of the checkpoint's matrix `name` (without .weight), which has `shape`."""
        weight = self.weight
        assert weight is not None, "weights are asked for before packing"
        yield Weight(f"{name}.weight", shape, part_of(weight[at], part))

    def pack(self) -> None:
        """Bring the weight into oneDNN's own layout, where that is faster; the plain one is given back."""
        weight = self.weight
        if weight is not None and packable(weight):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR_ROWS)
            self.weight = None

    def fuses(self, x: Tensor) -> bool:
        """Whether x [T, columns] has so few rows that `fused` is the way. The answer depends on shapes alone."""
        return self.weight is not None and skinny_linear.fits(x.shape[0], self.weight)

    def fused(
        self, x: Tensor, norm: tuple[Tensor, float] | None = None, residual: Tensor | None = None, silu: bool = False
    ) -> Tensor:
        """activation(norm(x) W^T + b) + residual; see `kernels.skinny_linear`."""
        assert self.weight is not None, "asked for where `fuses` says so"
        return skinny_linear.skinny_linear(x, self.weight, self.bias, norm, residual, silu)

    def adds(self, x: Tensor) -> bool:
        """Whether `added` is the way: where the library adds to what is there as it writes."""
        return x.is_cuda and self.weight is not None and self.bias is None

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        """residual + x W^T, in place, rounded once; x: [T, columns], residual: [T, rows]."""
        assert self.weight is not None, "asked for where `adds` says so"
        return residual.addmm_(x, self.weight.t())

    def rounds(self, x: Tensor) -> bool:
        """Whether x is rounded to 8-bit floats for the product: not with a weight in the dtype of the arithmetic."""
        return False

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, columns] -> [T, rows]."""
        if self.fuses(x):
            return self.fused(x)
        if self.packed is None:
            assert self.weight is not None, "a weight is either plain or packed"
            return F.linear(x, self.weight, self.bias)
        y: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self.packed, self.bias, "none", [], "")
        return y


def packable(weight: Tensor) -> bool:
    """Whether oneDNN's packed product works for `weight` on this machine."""
    if weight.is_cuda or platform.machine() != "x86_64" or not torch._C._has_mkldnn:
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
