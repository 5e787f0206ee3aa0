"""The geometry of a checkpoint."""

from __future__ import annotations

from ..checkpoint import Checkpoint, QwenVision, UnsupportedModel
from .geometry import Geometry
from .processor_settings import processor_settings
from .qwen import QwenGeometry


def open_geometry(checkpoint: Checkpoint) -> Geometry | None:
    """How the model of `checkpoint` turns pictures into tokens; None for a model of text.

    Raises `CheckpointError` for settings that are not valid or do not belong to the model.
    """
    vision = checkpoint.config().vision
    if vision is None:
        return None
    fields = processor_settings(checkpoint.path)
    if isinstance(vision, QwenVision):
        return QwenGeometry(vision, fields)
    raise UnsupportedModel(f"{checkpoint.config().architecture}: pictures are not supported")
