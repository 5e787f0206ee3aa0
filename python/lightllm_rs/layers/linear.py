"""Column and row parallel linear layers. A column layer may fuse several of the checkpoint's matrices into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
        self, parts: Sequence[Columns], inputs: int, bias: bool, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.inputs = inputs
        self.matrix = Matrix(sum(part.count for part in parts), inputs, bias, dtype, device)

    def weights(self) -> Iterator[Weight]:
        start = 0
        assert self.matrix.weight is not None, "weights are asked for before packing"
        for part in self.parts:
            rows = slice(start, start + part.count)
            yield Weight(f"{part.name}.weight", (part.size, self.inputs), part_of(self.matrix.weight[rows], part.mine))
            if self.matrix.bias is not None:
                yield Weight(f"{part.name}.bias", (part.size,), part_of(self.matrix.bias[rows], part.mine))
            start = rows.stop

    def finish(self) -> None:
        self.matrix.pack()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.matrix(x)
        return out


class RowLinear(Layer):
    """y = x W^T + b where each rank holds its columns of W and its part of x; the sum over the ranks is whole."""

    def __init__(
        self,
        name: str,
        outputs: int,
        inputs: int,
        mine: slice,
        bias: bool,
        tp: TensorParallel,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.name, self.outputs, self.inputs, self.mine, self.tp = name, outputs, inputs, mine, tp
        # The bias joins the sum once: on rank 0.
        self.bias_name = f"{name}.bias" if bias else None
        self.matrix = Matrix(outputs, mine.stop - mine.start, bias and tp.rank == 0, dtype, device)

    def weights(self) -> Iterator[Weight]:
        weight = self.matrix.weight
        assert weight is not None, "weights are asked for before packing"
        yield Weight(f"{self.name}.weight", (self.outputs, self.inputs), lambda t: store_columns(weight, t, self.mine))
        if self.bias_name is not None:
            bias = self.matrix.bias
            yield Weight(self.bias_name, (self.outputs,), lambda t: None if bias is None else store_all(bias, t))

    def finish(self) -> None:
        self.matrix.pack()

    def forward(self, x: Tensor) -> Tensor:
        return self.tp.all_reduce(self.matrix(x))


def store_columns(target: Tensor, source: Tensor, columns: slice) -> None:
    target.copy_(source[:, columns])


def store_all(target: Tensor, source: Tensor) -> None:
    target.copy_(source)
