"""silu(gate) * up on a CPU: rounded after the activation too, which saves three passes over the tensor."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def silu_mul_cpu(gate_up: Tensor) -> Tensor:
    """See `silu_mul`."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)
