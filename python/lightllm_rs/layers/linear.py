"""Column and row parallel linear layers. A column layer may fuse several of the checkpoint's matrices into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checkpoint import Quantization, UnsupportedModel
from ..kernels.fp8 import Fp8Rows
from ..kernels.silu_mul import silu_mul
from ..kernels.silu_mul_fp8 import silu_mul_fp8
from .fp8_block_matrix import Fp8BlockMatrix
from .fp8_matrix import Fp8Matrix
from .matrix import Matrix
from .norm import RmsNorm
from .parallel import TensorParallel
from .weights import Layer, Weight, part_of


@dataclass(frozen=True)
class Columns:
    """One of the fused matrices: its checkpoint name without .weight, all its outputs, and this rank's of them."""

    name: str
    size: int
    mine: slice

    @property
    def count(self) -> int:
        return int(self.mine.stop - self.mine.start)


class ColumnLinear(Layer):
    """y = x [W_1; W_2; ...]^T + b, each rank computing its outputs of each part: [T, inputs] -> [T, sum of parts]."""

    def __init__(
        self,
        parts: Sequence[Columns],
        inputs: int,
        bias: bool,
        quantization: Quantization | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.inputs = inputs
        rows = sum(part.count for part in parts)
        self.matrix = make_matrix([part.name for part in parts], rows, inputs, bias, quantization, dtype, device)

    def weights(self) -> Iterator[Weight]:
        start = 0
        for part in self.parts:
            rows = slice(start, start + part.count)
            yield from self.matrix.wanted(part.name, rows, (part.size, self.inputs), (part.mine, slice(None)))
            if self.matrix.bias is not None:
                yield Weight(f"{part.name}.bias", (part.size,), part_of(self.matrix.bias[rows], part.mine))
            start = rows.stop

    def finish(self) -> None:
        self.matrix.pack()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.matrix(x)
        return out

    def after(self, norm: RmsNorm, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """(y of norm(x + residual), x + residual); see `RmsNorm`."""
        fuses = self.matrix.fuses(x)
        if fuses and residual is None and norm.tp.world == 1:
            return self.matrix.fused(x, norm=(norm.weight, norm.eps)), x
        normed, total = norm.rounded(x, residual) if self.matrix.rounds(x) else norm(x, residual)
        y: Tensor = self.matrix(normed)
        return y, total

    def gated_after(
        self, norm: RmsNorm, x: Tensor, residual: Tensor | None, following: RowLinear
    ) -> tuple[Tensor | Fp8Rows, Tensor]:
        """`after` where y is gates, then ups: (silu(gate) * up, x + residual), rounded if `following` would do that."""
        fuses = self.matrix.fuses(x)
        if fuses and residual is None and norm.tp.world == 1:
            return self.matrix.fused(x, norm=(norm.weight, norm.eps), silu=True), x
        if fuses:
            normed, total = norm(x, residual)
            return self.matrix.fused(normed, silu=True), total
        y, total = self.after(norm, x, residual)
        return silu_mul_fp8(y) if following.matrix.rounds(y) else silu_mul(y), total


class RowLinear(Layer):
    """y = x W^T + b where each rank holds its columns of W and its part of x.

    What it returns is a rank's part: the sum over the ranks is y. The norm that follows takes that sum.
    """

    def __init__(
        self,
        name: str,
        outputs: int,
        inputs: int,
        mine: slice,
        bias: bool,
        tp: TensorParallel,
        quantization: Quantization | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.name, self.outputs, self.inputs, self.mine = name, outputs, inputs, mine
        self.whole = tp.world == 1
        # The bias joins the sum once: on rank 0.
        self.bias_name = f"{name}.bias" if bias else None
        columns = mine.stop - mine.start
        self.matrix = make_matrix([name], outputs, columns, bias and tp.rank == 0, quantization, dtype, device)

    def weights(self) -> Iterator[Weight]:
        everything = slice(None)
        yield from self.matrix.wanted(self.name, everything, (self.outputs, self.inputs), (everything, self.mine))
        if self.bias_name is not None:
            bias = self.matrix.bias
            yield Weight(self.bias_name, (self.outputs,), lambda t: None if bias is None else store_all(bias, t))

    def finish(self) -> None:
        self.matrix.pack()

    def forward(self, x: Tensor | Fp8Rows) -> Tensor:
        part: Tensor = self.matrix(x)
        return part

    def onto(self, x: Tensor | Fp8Rows, residual: Tensor) -> tuple[Tensor, Tensor | None]:
        """Two tensors whose sum, the first summed over the ranks, is y + residual; None if the second is zero."""
        if self.whole and isinstance(x, Tensor) and self.matrix.fuses(x):
            return self.matrix.fused(x, residual=residual), None
        if self.whole and isinstance(x, Tensor) and isinstance(self.matrix, Matrix) and self.matrix.adds(x):
            return self.matrix.added(x, residual), None
        return self(x), residual


def make_matrix(
    names: Sequence[str],
    rows: int,
    columns: int,
    bias: bool,
    quantization: Quantization | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Matrix | Fp8Matrix:
    """The matrix that holds those of modules `names` one below the other, quantised or not.

    Raises `UnsupportedModel` if only some of them are quantised.
    """
    covered = [quantization is not None and quantization.covers(name) for name in names]
    if quantization is None or not any(covered):
        return Matrix(rows, columns, bias, dtype, device)
    if not all(covered):
        some, others = names[covered.index(True)], names[covered.index(False)]
        raise UnsupportedModel(f"quantization_config: {some} is quantised and {others}, computed with it, is not")
    kind = Fp8BlockMatrix if quantization.scales == "block" else Fp8Matrix
    return kind(rows, columns, bias, quantization, dtype, device)


def store_all(target: Tensor, source: Tensor) -> None:
    target.copy_(source)
