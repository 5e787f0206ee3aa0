"""The model's folder, as Hugging Face lays it out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from config import PROCESSOR, config
from language import END_OF_TEXT, IM_END, IMAGE, language_weights, tokenizer_json
from safetensors.torch import save_file
from torch import Tensor

CHAT_TEMPLATE = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}\
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] %}\
{% if part['type'] == 'image' %}{{ 'IMAGE\\n' }}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}\
{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def write_folder(folder: Path, eyes: dict[str, Tensor]) -> None:
    """All files of the model. eyes: see `model.eyes_of`."""
    folder.mkdir(parents=True, exist_ok=True)
    language = {name.replace("model.", "model.language_model.", 1): w for name, w in language_weights().items()}
    save_file({**language, **eyes}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("IMAGE", IMAGE))
    values = config()
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": values["text_config"]["max_position_embeddings"],
    }
    files: dict[str, dict[str, Any]] = {
        "config.json": values,
        "preprocessor_config.json": {"image_processor_type": "SiglipImageProcessor", **PROCESSOR},
        "processor_config.json": {
            "processor_class": "LlavaProcessor",
            "image_token": IMAGE,
            "patch_size": values["vision_config"]["patch_size"],
            "vision_feature_select_strategy": values["vision_feature_select_strategy"],
            "num_additional_image_tokens": 0,
        },
        "generation_config.json": {"eos_token_id": [IM_END, END_OF_TEXT], "pad_token_id": IM_END},
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": tokenizer,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
