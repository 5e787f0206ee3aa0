"""A matrix product with a weight: cuBLAS on CUDA, prepacked oneDNN on an x86 CPU, plain torch elsewhere."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, columns] -> [T, rows]."""
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
