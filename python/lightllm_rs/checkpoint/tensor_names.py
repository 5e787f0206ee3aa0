"""Names of tensors in checkpoints of language models that see: one name for each, whoever wrote the file.

transformers 5 writes `model.language_model.layers.0...` and `model.visual...`; before, Qwen's files said
`model.layers.0...` and `visual...`, LLaVA's `language_model.model.layers.0...` and `vision_tower...`.
"""

from __future__ import annotations

VISION_ROOTS = ("visual.", "vision_tower.", "multi_modal_projector.", "image_newline")
"""How names of tensors that see begin, once a leading "model." is taken off."""

TOWER_ROOT = "vision_tower.vision_model."
"""What older files call the root of CLIP and SigLIP towers."""

LANGUAGE_ROOTS = (
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
)


def vision_tensor(name: str) -> str | None:
    """The name without a leading "model."; None for a tensor of the language model."""
    bare = name.removeprefix("model.")
    if bare.startswith(TOWER_ROOT):
        return "vision_tower." + bare[len(TOWER_ROOT) :]
    return bare if bare.startswith(VISION_ROOTS) else None


def language_tensor(name: str) -> str | None:
    """The name as a checkpoint of the language model alone has it; None for a tensor that sees."""
    if vision_tensor(name) is not None:
        return None
    for root, plain in LANGUAGE_ROOTS:
        if name.startswith(root):
            return plain + name[len(root) :]
    return name
