"""The geometry of a checkpoint."""

from __future__ import annotations

from ..checkpoint import Checkpoint, InternVLVision, LlavaVision, QwenVision, UnsupportedModel
from .geometry import Geometry
from .internvl import InternVLGeometry
from .llava import LlavaGeometry
from .llava_next import LlavaNextGeometry
from .processor_settings import processor_settings
from .qwen import QwenGeometry
from .special_tokens import special_token


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
    if isinstance(vision, LlavaVision):
        return LlavaNextGeometry(vision, fields) if vision.pinpoints else LlavaGeometry(vision, fields)
    if isinstance(vision, InternVLVision):
        start = special_token(checkpoint.path, "start_image_token", "<img>")
        end = special_token(checkpoint.path, "end_image_token", "</img>")
        return InternVLGeometry(vision, fields, start, end)
    raise UnsupportedModel(f"{checkpoint.config().architecture}: pictures are not supported")
