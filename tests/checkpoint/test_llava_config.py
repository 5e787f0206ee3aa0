"""config.json of LLaVA and InternVL: what published files leave unsaid, and say twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tiny_models import write_json, write_weights
from helpers.tiny_vl import tiny_vl_config
from lightllm_rs.checkpoint import CheckpointError, InternVLVision, LlavaVision, UnsupportedModel, locate
from lightllm_rs.checkpoint.hf_config import parse_config
from lightllm_rs.checkpoint.tensor_names import language_tensor, vision_tensor

# As the config of llava-1.5-7b-hf, which relies on the defaults of transformers' classes.
SPARSE: dict[str, Any] = {
    "architectures": ["LlavaForConditionalGeneration"],
    "image_token_index": 32000,
    "model_type": "llava",
    "text_config": {
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 4096,
        "model_type": "llama",
        "rms_norm_eps": 1e-05,
        "torch_dtype": "float16",
        "vocab_size": 32064,
    },
    "torch_dtype": "float16",
    "vision_config": {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
    },
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}


def test_a_sparse_config() -> None:
    found = parse_config(SPARSE, "config.json")
    assert (found.hidden, found.layers, found.heads, found.kv_heads) == (4096, 32, 32, 32)
    assert (found.intermediate, found.vocab, found.max_positions, found.rms_eps) == (11008, 32064, 4096, 1e-5)
    assert (found.language, found.dtype, found.mrope) == ("LlamaForCausalLM", "float16", None)
    vision = found.vision
    assert isinstance(vision, LlavaVision)
    assert (vision.image_token, vision.tile_tokens, vision.depths, vision.pinpoints) == (32000, 576, (23,), ())
    assert (vision.tower.activation, vision.tower.eps, vision.activation) == ("quick_gelu", 1e-5, "gelu")


def test_a_null_window_is_none() -> None:
    """transformers' Mistral has a window of 4096 by default, which llava-v1.6-mistral-7b-hf takes back."""
    config = {
        **SPARSE,
        "architectures": ["LlavaNextForConditionalGeneration"],
        "text_config": {"model_type": "mistral", "sliding_window": None, "rope_theta": 1000000.0, "vocab_size": 32064},
    }
    found = parse_config(config, "config.json")
    assert (found.language, found.sliding_window, found.kv_heads) == ("MistralForCausalLM", None, 8)
    assert (found.intermediate, found.max_positions, found.rope_theta) == (14336, 131072, 1e6)
    vision = found.vision
    assert isinstance(vision, LlavaVision)
    assert vision.pinpoints == ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
    silent = parse_config({**config, "text_config": {"model_type": "mistral"}}, "config.json")
    assert silent.sliding_window == 4096


def test_internvl_says_little() -> None:
    """Of InternVL3-8B-hf: heads and widths; the rest are defaults."""
    config = {
        "architectures": ["InternVLForConditionalGeneration"],
        "text_config": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
                        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 151674},
        "vision_config": {"attention_bias": True},
        "image_token_id": 151667,
    }  # fmt: skip
    found = parse_config(config, "config.json")
    assert (found.language, found.head_dim, found.tie_embeddings) == ("Qwen2ForCausalLM", 128, False)
    vision = found.vision
    assert isinstance(vision, InternVLVision)
    assert (vision.depth, vision.merge, vision.side, vision.normed) == (24, 2, 16, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_config": None}, "vision_config is missing"),
        ({"vision_feature_layer": 25}, "must name layers of 24"),
        ({"vision_feature_layer": []}, "names no layer"),
        ({"vision_feature_layer": "last"}, "must name layers"),
        ({"vision_feature_select_strategy": "cls"}, "cls"),
        ({"text_config": {"model_type": "gemma"}}, "gemma"),
        ({"image_token_index": None}, "image_token_index is missing"),
        ({"vision_config": {"model_type": "clip_vision_model", "num_attention_heads": 7}}, "not divisible"),
        ({"vision_config": {"model_type": "clip_vision_model", "patch_size": 400}}, "larger than"),
        ({"vision_config": {"model_type": "clip_vision_model", "num_channels": 1}}, "num_channels"),
    ],
)
def test_what_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises((CheckpointError, UnsupportedModel), match=message):
        parse_config({**SPARSE, **change}, "config.json")


def test_the_format_that_needs_code_is_refused_with_the_way_out() -> None:
    with pytest.raises(UnsupportedModel, match="ends in -hf"):
        parse_config({"architectures": ["InternVLChatModel"]}, "config.json")


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize(
    ("root", "text", "stored", "tied"),
    [
        (True, False, False, True),  # as transformers 5 writes it
        (True, False, True, False),
        (None, False, True, False),  # as published, InternVL's root being silent
        (None, False, False, True),
        (False, False, False, False),  # a file that lacks its head must not pass
        (False, True, False, True),
    ],
)
def test_who_ties_the_head(
    tmp_path: Path, shards: int, root: bool | None, text: bool, stored: bool, tied: bool
) -> None:
    config = tiny_vl_config("internvl", text_config={"tie_word_embeddings": text})
    del config["tie_word_embeddings"]
    write_json(tmp_path / "config.json", config if root is None else {**config, "tie_word_embeddings": root})
    names = ["language_model.model.norm.weight", "vision_tower.embeddings.cls_token"]
    names += ["language_model.lm_head.weight"] if stored else []
    write_weights(tmp_path, {name: np.zeros(1, np.float32) for name in names}, shards)
    assert locate(str(tmp_path)).config().tie_embeddings is tied


@pytest.mark.parametrize(
    ("stored", "language", "vision"),
    [
        ("language_model.model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight", None),
        ("model.language_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight", None),
        ("language_model.lm_head.weight", "lm_head.weight", None),
        ("lm_head.weight", "lm_head.weight", None),
        ("vision_tower.vision_model.pre_layrnorm.bias", None, "vision_tower.pre_layrnorm.bias"),
        ("model.vision_tower.encoder.layer.0.lambda_1", None, "vision_tower.encoder.layer.0.lambda_1"),
        ("multi_modal_projector.linear_1.bias", None, "multi_modal_projector.linear_1.bias"),
        ("model.image_newline", None, "image_newline"),
    ],
)
def test_names(stored: str, language: str | None, vision: str | None) -> None:
    assert language_tensor(stored) == language
    assert vision_tensor(stored) == vision
