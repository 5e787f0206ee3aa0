"""`transformers` as the yardstick of LLaVA and InternVL, pictures to logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText

from lightllm_rs.models.vision import VisionTower


class TiledReference:
    """transformers' model of a folder. Pixels come from `tower`, which tests of its own hold against transformers."""

    def __init__(self, folder: Path, tower: VisionTower) -> None:
        self.tower = tower
        self.model: Any = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def inputs(self, pictures: Sequence[Image.Image]) -> dict[str, Tensor]:
        """What the model takes beside ids."""
        if not pictures:
            return {}
        inputs = {"pixel_values": self.tower.normalise(torch.cat([self.tower.pixels(one).values for one in pictures]))}
        if self.model.config.model_type == "llava_next":
            inputs["image_sizes"] = torch.tensor([[one.height, one.width] for one in pictures])
        return inputs

    def features(self, picture: Image.Image) -> Tensor:
        """[tokens, width] of one picture."""
        with torch.inference_mode():
            found = self.model.model.get_image_features(**self.inputs([picture]), return_dict=True).pooler_output
        parts = list(found) if isinstance(found, (list, tuple)) else [found]
        return torch.cat([part.flatten(0, -2) for part in parts])

    def logits(self, ids: Sequence[int], pictures: Sequence[Image.Image]) -> Tensor:
        """float32 [tokens, vocab]; `ids` has as many image tokens as the pictures take."""
        with torch.inference_mode():
            logits: Tensor = self.model(input_ids=torch.tensor([list(ids)]), **self.inputs(pictures)).logits[0]
        return logits
