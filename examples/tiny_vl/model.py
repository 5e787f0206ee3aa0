"""The model: a SigLIP tower of four layers and LLaVA's projector before the demo model's language weights."""

from __future__ import annotations

import torch
from config import PROCESSOR, config
from language import language_weights
from PIL import Image
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

EYES = ("model.vision_tower.", "model.multi_modal_projector.")  # what names of trained weights begin with


def make_model(seed: int) -> LlavaForConditionalGeneration:
    """In float32, the tower and the projector drawn anew from the seed, the language as it is and frozen."""
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(LlavaConfig(**config()))
    weights = {name.removeprefix("model."): tensor for name, tensor in language_weights().items()}
    model.model.language_model.load_state_dict(weights)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(EYES))
    return model.eval()


def eyes_of(model: LlavaForConditionalGeneration) -> dict[str, Tensor]:
    """The trained weights in float16, by their names in the folder."""
    return {name: weight.detach().half() for name, weight in model.named_parameters() if name.startswith(EYES)}


def pixels(pictures: list[Image.Image]) -> Tensor:
    """[pictures, 3, IMAGE_SIZE, IMAGE_SIZE]"""
    found: Tensor = SiglipImageProcessorPil(**PROCESSOR)(images=pictures, return_tensors="pt")["pixel_values"]
    return found


def features(model: LlavaForConditionalGeneration, values: Tensor) -> Tensor:
    """[pictures, SENTENCE, hidden]: what stands in the prompt for each picture."""
    return torch.stack(list(model.model.get_image_features(values, return_dict=True).pooler_output))
