"""What the folder's files say of the model. Importing this imports no transformers."""

from __future__ import annotations

from typing import Any

from language import IMAGE_ID, text_config
from words import SENTENCE

IMAGE_SIZE, PATCH = 64, 16
TOWER = {
    "model_type": "siglip_vision_model",
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH,
    "vision_use_head": False,
}
PROCESSOR = {
    "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
assert SENTENCE == (IMAGE_SIZE // PATCH) ** 2


def config() -> dict[str, Any]:
    """config.json."""
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": text_config(),
        "vision_config": TOWER,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "image_token_index": IMAGE_ID,
        "image_seq_length": SENTENCE,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }
