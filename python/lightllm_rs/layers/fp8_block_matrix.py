"""A matrix product with a weight of 8-bit floats whose scales belong to blocks of 128 by 128."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..checkpoint import Quantization, UnsupportedModel
from ..kernels.fp8 import FP8
from ..kernels.fp8_block_linear import GROUP, fp8_block_linear
from ..kernels.fp8_block_linear.reference import dequantised
from .fp8_matrix import Fp8Matrix, copy
from .weights import Weight


class Fp8BlockMatrix(Fp8Matrix):
    """y = x W^T + b. scale: float32 [rows, columns / 128]: a row of blocks is repeated for each of its rows, so that
    rows can be divided among ranks and put below those of another matrix wherever they end."""

    group = GROUP

    def __init__(
        self,
        rows: int,
        columns: int,
        bias: bool,
        quantization: Quantization,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        if columns % GROUP:
            raise UnsupportedModel(f"blocks of {GROUP} do not divide the {columns} inputs of a matrix of this rank")
        super().__init__(rows, columns, bias, quantization, dtype, device)
        self.scale = torch.empty(rows, columns // GROUP, dtype=torch.float32, device=device)

    def wanted(self, name: str, at: slice, shape: tuple[int, int], part: tuple[slice, slice]) -> Iterator[Weight]:
        """See `Matrix.wanted`: the weight, and a scale for each block of it."""
        weight, (rows, columns) = self.weight, part
        assert weight is not None, "weights are asked for before packing"
        target, scale = weight[at], self.scale[at]
        start, stop, _ = columns.indices(shape[1])
        if start % GROUP or stop % GROUP:
            raise UnsupportedModel(f"{name}: blocks of {GROUP} do not divide the inputs of this rank")
        blocks = slice(start // GROUP, stop // GROUP)

        def store_scales(source: Tensor) -> None:
            scale.copy_(source[:, blocks].repeat_interleave(GROUP, dim=0)[: shape[0]][rows])

        yield Weight(f"{name}.weight", shape, lambda source: copy(target, source[rows, columns]), FP8)
        yield Weight(f"{name}.weight_scale_inv", (-(-shape[0] // GROUP), -(-shape[1] // GROUP)), store_scales)

    def dequantised(self) -> Tensor:
        assert self.weight is not None, "asked for before packing"
        return dequantised(self.weight, self.scale)

    def product(self, values: Tensor, scales: Tensor) -> Tensor:
        assert self.weight is not None, "a weight is either here or packed"
        return fp8_block_linear(values, scales, self.weight, self.scale, self.bias, self.dtype)
