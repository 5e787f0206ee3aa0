"""`transformers` as the yardstick of models that see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from helpers.tiny_seeing import IMAGE_TOKEN, OLD_NAMES, processor_config, reference_of


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coloured noise, coarse enough to be seen after resizing."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (max(1, height // 6), max(1, width // 6), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@dataclass
class Reference:
    """transformers' model of a folder, and its image processor."""

    model: Any
    processor: Any

    @classmethod
    def of(cls, folder: Path, kind: str) -> Reference:
        model = reference_of(folder)
        tensors = load_file(folder / "model.safetensors")
        if any(name.startswith("visual.") for name in tensors):
            tensors = {old_to_new(name): tensor for name, tensor in tensors.items()}
        missing, unexpected = model.load_state_dict(tensors, strict=False)
        assert not unexpected
        assert set(missing) <= {"lm_head.weight"}
        settings = {key: value for key, value in processor_config(kind).items() if not key.startswith("image_proc")}
        size = {"shortest_edge": settings.pop("min_pixels"), "longest_edge": settings.pop("max_pixels")}
        return cls(model, Qwen2VLImageProcessorPil(size=size, **settings))

    def features(self, pictures: Sequence[Image.Image]) -> list[Tensor]:
        """[tokens, width] of each, levels side by side."""
        with torch.inference_mode():
            made = self.processor(images=list(pictures), return_tensors="pt")
            found = self.model.model.visual(made["pixel_values"], grid_thw=made["image_grid_thw"])
        levels = [found.pooler_output, *(getattr(found, "deepstack_features", None) or [])]
        sizes = (made["image_grid_thw"].prod(-1) // 4).tolist()
        return list(torch.cat(levels, dim=1).split(sizes))

    def logits(self, ids: Sequence[int], pictures: Sequence[Image.Image]) -> Tensor:
        """float32 [tokens, vocab]; `ids` has as many image tokens as the pictures take."""
        tokens = torch.tensor([list(ids)])
        images: dict[str, Tensor] = {}
        if pictures:
            images = dict(self.processor(images=list(pictures), return_tensors="pt"))
            images["mm_token_type_ids"] = (tokens == IMAGE_TOKEN).int()
        self.model.model.rope_deltas = None
        with torch.inference_mode():
            logits: Tensor = self.model(input_ids=tokens, **images).logits[0]
        return logits


def old_to_new(name: str) -> str:
    for new, old in OLD_NAMES:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
