"""Complete tiny folders of models that see: config, random weights, tokenizer, chat template, image processor.

`make_tiny_vl(folder, "internvl")` takes a few seconds, as transformers itself makes the module whose weights are then
drawn anew. `image_text(kind)` is what stands for a picture in a prompt that no chat template made. The kinds are those
of CONFIGS here and of KINDS in tiny_seeing, `ALL_KINDS` together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer

from helpers.tiny_models import END_OF_TEXT, IM_END, IM_START, SPECIAL_TOKENS, tiny_tokenizer, write_json
from helpers.tiny_seeing import KINDS as QWEN_KINDS
from helpers.tiny_seeing import make_seeing_model

# Ids of the tokens around and for pictures, behind those of tiny_tokenizer(370).
IMAGE, VIDEO, START, END = 370, 371, 372, 373

TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 384,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "bos_token_id": IM_START,
    "eos_token_id": IM_END,
    "tie_word_embeddings": False,
}
TOWER: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
}
PINPOINTS = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
LLAVA = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"}
LLAVA_NEXT = {
    "architectures": ["LlavaNextForConditionalGeneration"],
    "model_type": "llava_next",
    "image_grid_pinpoints": PINPOINTS,
}
INTERNVL = {"architectures": ["InternVLForConditionalGeneration"], "model_type": "internvl", "downsample_ratio": 0.5}
CLIP = {**TOWER, "model_type": "clip_vision_model"}
SIGLIP = {**TOWER, "model_type": "siglip_vision_model"}
FULL = {"vision_feature_select_strategy": "full"}

CONFIGS: dict[str, dict[str, Any]] = {
    "llava": {**LLAVA, "text_config": {**TEXT, "model_type": "llama"}, "vision_config": CLIP},
    "llava-siglip": {**LLAVA, **FULL, "text_config": {**TEXT, "model_type": "qwen2"}, "vision_config": SIGLIP},
    "llava-next": {
        **LLAVA_NEXT,
        "text_config": {**TEXT, "model_type": "mistral", "sliding_window": None},
        "vision_config": CLIP,
    },
    "llava-next-siglip": {
        **LLAVA_NEXT,
        **FULL,
        "text_config": {**TEXT, "model_type": "qwen3", "head_dim": 16},
        "vision_config": SIGLIP,
    },
    "internvl": {
        **INTERNVL,
        "text_config": {**TEXT, "model_type": "qwen2"},
        "vision_config": {**TOWER, "model_type": "internvl_vision", "attention_bias": True},
    },
}

SQUARE = {"height": 28, "width": 28}
CLIP_PROCESSOR = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 28}, "crop_size": SQUARE}
PROCESSORS: dict[str, dict[str, Any]] = {
    "llava": CLIP_PROCESSOR,
    "llava-siglip": {"image_processor_type": "SiglipImageProcessor", "size": SQUARE},
    "llava-next": {
        **CLIP_PROCESSOR,
        "image_processor_type": "LlavaNextImageProcessor",
        "image_grid_pinpoints": PINPOINTS,
    },
    "llava-next-siglip": {
        "image_processor_type": "LlavaNextImageProcessor",
        "size": SQUARE,
        "crop_size": SQUARE,
        "image_grid_pinpoints": PINPOINTS,
    },
    "internvl": {"image_processor_type": "GotOcr2ImageProcessorFast", "size": SQUARE, "max_patches": 6},
}

LLAVA_TOKENS = ("<image>", "<video>", "<unused-0>", "<unused-1>")
QWEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
TOKENS = {"internvl": ("<IMG_CONTEXT>", "<video>", "<img>", "</img>"), **dict.fromkeys(QWEN_KINDS, QWEN_TOKENS)}

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ 'IMAGE_TEXT' }}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


ALL_KINDS = (*CONFIGS, *QWEN_KINDS)


def image_text(kind: str) -> str:
    """What the chat template puts where a picture belongs."""
    if kind in QWEN_KINDS:
        return "<|vision_start|><|image_pad|><|vision_end|>"
    return TOKENS.get(kind, LLAVA_TOKENS)[0] + "\n"


def tiny_vl_config(kind: str, **overrides: Any) -> dict[str, Any]:
    """config.json of `kind`; an override replaces a field of the root, or is merged into one that is an object."""
    token_key = "image_token_id" if kind == "internvl" else "image_token_index"
    config = {"tie_word_embeddings": False, "dtype": "float32", token_key: IMAGE, **CONFIGS[kind]}
    for key, value in overrides.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    return config


def make_tiny_vl(
    folder: Path, kind: str, *, seed: int = 0, processor: dict[str, Any] | None = None, **overrides: Any
) -> Path:
    """Write a complete model folder and return it; see `tiny_vl_config` for `overrides`.

    processor: fields of preprocessor_config.json to change, not of Qwen's kinds.
    """
    if kind in QWEN_KINDS:
        make_seeing_model(folder, kind, seed=seed, **overrides)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", tiny_vl_config(kind, **overrides))
        write_vl_weights(folder, seed)
        write_json(folder / "config.json", tiny_vl_config(kind, **overrides))  # saving wrote transformers' own
        write_json(folder / "preprocessor_config.json", {**PROCESSORS[kind], **(processor or {})})
    write_json(folder / "generation_config.json", {"eos_token_id": [IM_END, END_OF_TEXT]})
    write_vl_tokenizer(folder, TOKENS.get(kind, LLAVA_TOKENS), image_text(kind))
    return folder


def write_vl_weights(folder: Path, seed: int = 0) -> None:
    """model.safetensors of the folder's config: every weight random, norms about one."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            weight.copy_(torch.randn(weight.shape, generator=generator))
            if weight.ndim == 1:
                weight.mul_(0.2).add_(1.0 if name.endswith(("norm.weight", "lambda_1", "lambda_2")) else 0.0)
            elif "embed" not in name or "patch" in name:
                weight.div_(weight[0].numel() ** 0.5)
    model.save_pretrained(folder)


def write_vl_tokenizer(folder: Path, tokens: tuple[str, ...], image: str) -> None:
    """The tokenizer of `make_tiny_model` with four special tokens more, and a template that takes content parts."""
    tokenizer = Tokenizer.from_str(tiny_tokenizer(IMAGE).to_str())
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    assert [tokenizer.token_to_id(token) for token in tokens] == [IMAGE, VIDEO, START, END]
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIAL_TOKENS[IM_START],
            "eos_token": SPECIAL_TOKENS[IM_END],
            "add_bos_token": False,
            "chat_template": CHAT_TEMPLATE.replace("IMAGE_TEXT", image.replace("\n", "\\n")),
            "clean_up_tokenization_spaces": False,
        },
    )
