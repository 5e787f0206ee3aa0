"""Tiny Hugging Face folders of models that see, with random weights that transformers itself makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.tiny_models import IM_END, IM_START, write_json, write_tokenizer

IMAGE_TOKEN, VIDEO_TOKEN, VISION_START, VISION_END = 370, 371, 372, 373

TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 384,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "bos_token_id": IM_START,
    "eos_token_id": IM_END,
    "tie_word_embeddings": False,
}

ROOT: dict[str, Any] = {
    "image_token_id": IMAGE_TOKEN,
    "video_token_id": VIDEO_TOKEN,
    "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}

PROCESSOR: dict[str, Any] = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 784, "max_pixels": 40000}

KINDS: dict[str, dict[str, Any]] = {
    "qwen2_vl": {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "text_config": {**TEXT, "rope_theta": 1e4, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
        "vision_config": {"depth": 3, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 3},
    },
    "qwen2_5_vl": {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "text_config": {**TEXT, "rope_theta": 1e4, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
        "vision_config": {
            "depth": 4,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "intermediate_size": 52,
            "num_heads": 2,
            "window_size": 56,
            "fullatt_block_indexes": [1, 3],
        },
    },
    "qwen3_vl": {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "text_config": {
            **TEXT,
            "head_dim": 16,
            "rope_theta": 1e4,
            "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
        },
        "vision_config": {
            "depth": 4,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "intermediate_size": 56,
            "num_heads": 2,
            "patch_size": 16,
            "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 2],
        },
    },
}


def seeing_config(kind: str, **overrides: Any) -> dict[str, Any]:
    """config.json of a tiny model; `overrides` replace fields of the root, or are merged into a nested object."""
    config = json.loads(json.dumps({**ROOT, **KINDS[kind]}))
    for key, value in overrides.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) and key in config else value
    return config


def processor_config(kind: str) -> dict[str, Any]:
    """preprocessor_config.json that goes with it."""
    vision = KINDS[kind]["vision_config"]
    return {**PROCESSOR, "patch_size": vision.get("patch_size", 14), "temporal_patch_size": 2, "merge_size": 2}


def write_configs(folder: Path, kind: str, **overrides: Any) -> Path:
    """The folder without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", seeing_config(kind, **overrides))
    write_json(folder / "preprocessor_config.json", processor_config(kind))
    return folder


OLD_NAMES = (("model.visual.", "visual."), ("model.language_model.", "model."))


def make_seeing_model(folder: Path, kind: str, *, seed: int = 0, old_names: bool = False, **overrides: Any) -> Path:
    """A complete folder, tokenizer included. `old_names`: of tensors, as checkpoints before transformers 4.52 have."""
    import torch
    from safetensors.torch import save_file

    write_configs(folder, kind, **overrides)
    write_tokenizer(folder)
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in reference_of(folder).state_dict().items():
        if name == "lm_head.weight" and seeing_config(kind, **overrides)["tie_word_embeddings"]:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() == 1:
            is_norm = "norm" in name or "ln_q" in name
            noise = 0.2 * noise + (1.0 if is_norm and name.endswith("weight") else 0.0)
        elif "embed" not in name or "patch_embed" in name:
            noise = noise / tensor[0].numel() ** 0.5
        for new, old in OLD_NAMES if old_names else ():
            name = name.replace(new, old) if name.startswith(new) else name
        tensors[name] = noise
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def reference_of(folder: Path) -> Any:
    """transformers' model of the folder's config, float32, attention without tricks; its weights are not loaded."""
    import torch
    import transformers

    config = json.loads((folder / "config.json").read_text())
    model_class = getattr(transformers, config["architectures"][0])
    with torch.random.fork_rng():
        made = model_class.config_class(**config, attn_implementation="eager")
        return model_class(made).eval()
