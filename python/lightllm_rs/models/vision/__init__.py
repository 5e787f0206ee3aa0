"""Vision towers: pictures to rows of features for the language model."""

from __future__ import annotations

import torch

from ...checkpoint import Checkpoint
from ...vision import Geometry
from .base import Pixels, VisionTower
from .registry import TOWERS, tower_class

__all__ = ["TOWERS", "Pixels", "VisionTower", "load_tower", "tower_class"]


def load_tower(
    checkpoint: Checkpoint, geometry: Geometry, *, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> VisionTower:
    """The tower of `checkpoint`, its weights loaded (or made up from `seed`, for a dummy checkpoint).

    Raises `CheckpointError`, in one line, whatever is wrong with the files.
    """
    config = checkpoint.config()
    tower = tower_class(config.architecture).from_config(config, geometry, dtype, device)
    tower.load(checkpoint.vision_tensors(tower.shapes(), dtype=dtype, device=device, seed=seed), device)
    return tower
