"""Activation functions by the names that config.json uses."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoint import UnsupportedModel


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function called `name`. Raises `UnsupportedModel`, which lists the known ones."""
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "gelu": F.gelu,
        "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "silu": F.silu,
    }
    if name not in known:
        raise UnsupportedModel(
            f"activation {name!r:.40} is not supported in a vision tower: the known ones are {', '.join(sorted(known))}"
        )
    return known[name]
