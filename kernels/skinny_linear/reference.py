"""The fused linear layer in plain torch, float32 inside."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def skinny_linear_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    norm: tuple[Tensor, float] | None = None,
    residual: Tensor | None = None,
    silu: bool = False,
    scale: Tensor | None = None,
) -> Tensor:
    """See `skinny_linear`."""
    wide = x.float()
    if norm is not None:
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + norm[1]) * norm[0].float()
    y = wide @ weight.float().T
    if scale is not None:
        y = y * scale
    if bias is not None:
        y = y + bias.float()
    if silu:
        gate, up = y.chunk(2, dim=-1)
        y = F.silu(gate) * up
    if residual is not None:
        y = y + residual.float()
    return y.to(x.dtype)
