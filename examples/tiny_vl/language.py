"""The demo model's language weights and tokenizer, as a model that sees has them."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

from lightllm_rs.checkpoint import locate
from lightllm_rs.checkpoint.gguf_tensors import gguf_tensors
from lightllm_rs.tokenizer.gguf import from_gguf

END_OF_TEXT, IM_START, IM_END = 0, 1, 2
IMAGE, UNUSED = "<image>", "<empty_output>"
IMAGE_ID = 16


def language_weights() -> dict[str, Tensor]:
    """By the names of a LlamaForCausalLM; rounded to bfloat16, as the folder will hold them."""
    checkpoint = locate()
    return {name: tensor.bfloat16() for name, tensor in gguf_tensors(checkpoint.gguf, checkpoint.config())}


def text_config() -> dict[str, Any]:
    """The `text_config` of config.json."""
    config = locate().config()
    return {
        "model_type": "llama",
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.rms_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": IM_START,
        "eos_token_id": IM_END,
        "pad_token_id": IM_END,
    }


def tokenizer_json() -> dict[str, Any]:
    """tokenizer.json, where a special token that chats have no use for has become the one that stands for a picture."""
    built: dict[str, Any] = json.loads(from_gguf(locate().gguf.metadata).to_str())
    vocabulary = built["model"]["vocab"]
    vocabulary[IMAGE] = vocabulary.pop(UNUSED)
    for token in built["added_tokens"]:
        if token["content"] == UNUSED:
            token["content"] = IMAGE
    assert vocabulary[IMAGE] == IMAGE_ID
    return built
