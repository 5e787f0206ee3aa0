"""Models that see, for benchmarks: one small enough for a CPU, and a large one's shape for random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SIDE = 448
"""Pictures of the small model: one tile of so many pixels each way, 256 tokens."""


def make_model(folder: Path) -> Path:
    """Some 50 M random weights; a picture of 448 x 448 is 256 tokens."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from helpers.tiny_vl import make_tiny_vl

    text = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 12}
    vision = {"hidden_size": 192, "intermediate_size": 512, "image_size": SIDE, "patch_size": 14}
    make_tiny_vl(folder, "internvl", text_config=text, vision_config=vision)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": {"height": SIDE, "width": SIDE}}))
    return folder


QWEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
QWEN_SHAPE: dict[str, Any] = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "model_type": "qwen2_5_vl",
    "image_token_id": 370,
    "video_token_id": 371,
    "vision_start_token_id": 372,
    "vision_end_token_id": 373,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 128000,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "bos_token_id": 1,
    "eos_token_id": 2,
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
}
QWEN_PROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
}


def make_shape(folder: Path) -> Path:
    """Qwen2.5-VL-7B's config with a small tokenizer, and no weights."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from helpers.tiny_vl import write_vl_tokenizer

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN_SHAPE))
    (folder / "preprocessor_config.json").write_text(json.dumps(QWEN_PROCESSOR))
    write_vl_tokenizer(folder, QWEN_TOKENS, "<|vision_start|><|image_pad|><|vision_end|>")
    return folder
