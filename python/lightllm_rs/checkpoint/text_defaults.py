"""What a nested text_config leaves out: the defaults of transformers' config classes, by `model_type`.

Older LLaVA configs rely on them: those of llava-1.5-7b-hf do not even say how wide the model is.
"""

from __future__ import annotations

from typing import Any

SIZES: dict[str, Any] = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}

TEXT_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {**SIZES, "intermediate_size": 11008, "vocab_size": 32000, "max_position_embeddings": 2048},
    "mistral": {
        **SIZES,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "max_position_embeddings": 131072,
    },
    "qwen2": {**SIZES, "intermediate_size": 22016, "vocab_size": 151936, "max_position_embeddings": 32768},
    "qwen3": {
        **SIZES,
        "intermediate_size": 22016,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 32768,
    },
}
