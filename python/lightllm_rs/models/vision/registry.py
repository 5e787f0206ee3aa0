"""Which class sees for which architecture. A tower's file is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module

from ...checkpoint import UnsupportedModel
from .base import VisionTower

# Architecture (config.json) -> (module beside this one, class).
TOWERS: dict[str, tuple[str, str]] = {
    "InternVLForConditionalGeneration": ("internvl", "InternVL"),
    "LlavaForConditionalGeneration": ("llava", "Llava"),
    "LlavaNextForConditionalGeneration": ("llava", "LlavaNext"),
    "Qwen2VLForConditionalGeneration": ("qwen", "QwenTower"),
    "Qwen2_5_VLForConditionalGeneration": ("qwen", "QwenTower"),
    "Qwen3VLForConditionalGeneration": ("qwen", "QwenTower"),
}


def tower_class(architecture: str) -> type[VisionTower]:
    """The class of `architecture`. Raises `UnsupportedModel` for a model of text."""
    if architecture not in TOWERS:
        raise UnsupportedModel(f"architecture {architecture!r:.80} has no vision tower")
    module, name = TOWERS[architecture]
    found: type[VisionTower] = getattr(import_module(f".{module}", __package__), name)
    return found
