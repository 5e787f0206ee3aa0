"""Models on disk: finding them, their config, their tensors. Importing this imports no torch and no transformers."""

from __future__ import annotations

from .checkpoint import Checkpoint, LoadFormat
from .config import Llama3Scaling, ModelConfig
from .errors import CheckpointError, UnsupportedModel
from .gguf_file import GgufFile
from .internvl_vision import InternVLVision
from .llava_vision import LlavaVision
from .locate import locate
from .quantization import Quantization
from .qwen_vision import QwenVision
from .vision_config import MRope, VisionConfig

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "GgufFile",
    "InternVLVision",
    "Llama3Scaling",
    "LlavaVision",
    "LoadFormat",
    "MRope",
    "ModelConfig",
    "Quantization",
    "QwenVision",
    "UnsupportedModel",
    "VisionConfig",
    "locate",
]
