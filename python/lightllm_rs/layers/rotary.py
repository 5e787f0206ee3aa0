"""Rotary position embedding: the table of cosines and sines, with Llama 3's scaling and Qwen's three axes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..checkpoint import Llama3Scaling, ModelConfig


class Rotary(nn.Module):
    """positions [T] -> float32 [T, 2, head_dim], which `kernels.rotary_kv` takes; with M-RoPE also positions [3, T],
    one for each axis, where each frequency turns by its own axis (`MRope.axes`).

    Row 0 holds the cosines of both halves of a head, row 1 the sines, those of the first half negated: a rotated head
    is then x * cos + roll(x, head_dim / 2) * sin.
    """

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        super().__init__()
        # float64 on the CPU: the same table on every device, and exact for long contexts.
        angles = torch.outer(torch.arange(config.max_positions, dtype=torch.float64), frequencies(config))
        cosines, sines = angles.cos(), angles.sin()
        table = torch.stack((torch.cat((cosines, cosines), -1), torch.cat((-sines, sines), -1)), dim=1)
        self.table = table.to(device=device, dtype=torch.float32)
        # Which numbers of a head belong to the rows' and to the columns' axis; the others are time's.
        axes = torch.tensor(config.mrope.axes() * 2 if config.mrope is not None else [], dtype=torch.int64)
        self.spatial = [(axes == axis).nonzero().view(-1).to(device) for axis in (1, 2)]

    def forward(self, positions: Tensor) -> Tensor:
        if positions.dim() == 1:
            return self.table.index_select(0, positions)
        time, *space = (self.table.index_select(0, axis) for axis in positions)
        for numbers, turned in zip(self.spatial, space, strict=True):
            time[..., numbers] = turned[..., numbers]
        return time


def frequencies(config: ModelConfig) -> Tensor:
    """float64 [head_dim / 2], radians a position."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    base = config.rope_theta**-exponents
    if config.rope_factors is not None:
        base = base / torch.tensor(config.rope_factors, dtype=torch.float64)
    if config.rope_scaling is not None:
        base = llama3_scaled(base, config.rope_scaling)
    return base


def llama3_scaled(base: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Long waves are stretched by `factor`, short ones kept, those between blended linearly in their frequency."""
    turns = scaling.original_max_positions * base / (2 * math.pi)  # over the original context
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = kept.clamp(0.0, 1.0)
    return kept * base + (1.0 - kept) * base / scaling.factor
