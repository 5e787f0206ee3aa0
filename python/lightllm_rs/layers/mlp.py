"""The gated MLP: down(silu(gate(x)) * up(x))."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..checkpoint import ModelConfig
from .linear import ColumnLinear, Columns, RowLinear
from .norm import RmsNorm
from .parallel import TensorParallel


class GatedMlp(nn.Module):
    """x, residual [T, hidden] -> two tensors whose sum is s + mlp(norm(s)), s = x + residual; see `RowLinear.onto`.

    `name` is the checkpoint's prefix, such as "model.layers.0.mlp".
    """

    def __init__(
        self, name: str, config: ModelConfig, tp: TensorParallel, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        inner, mine = config.intermediate, tp.share(config.intermediate, "MLP columns")
        self.gate_up = ColumnLinear(
            [Columns(f"{name}.gate_proj", inner, mine), Columns(f"{name}.up_proj", inner, mine)],
            config.hidden,
            config.mlp_bias,
            config.quantization,
            dtype,
            device,
        )
        self.down = RowLinear(
            f"{name}.down_proj", config.hidden, inner, mine, config.mlp_bias, tp, config.quantization, dtype, device
        )

    def forward(self, norm: RmsNorm, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor | None]:
        gated, total = self.gate_up.gated_after(norm, x, residual, self.down)
        return self.down.onto(gated, total)
