"""Column and row parallel linear layers. A column layer may fuse several of the checkpoint's matrices into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checkpoint import Quantization, UnsupportedModel
from .fp8_block_matrix import Fp8BlockMatrix
from .fp8_matrix import Fp8Matrix
from .matrix import Matrix
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

    def forward(self, x: Tensor) -> Tensor:
        part: Tensor = self.matrix(x)
        return part


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
