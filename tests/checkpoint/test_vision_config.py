"""config.json of models that see: nested and flat, newer and older names, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny_seeing import KINDS, reference_of, seeing_config, write_configs
from lightllm_rs.checkpoint import CheckpointError, MRope, QwenVision, UnsupportedModel
from lightllm_rs.checkpoint.hf_config import parse_config
from lightllm_rs.checkpoint.quantization import Quantization
from lightllm_rs.checkpoint.tensor_names import language_tensor, vision_tensor
from lightllm_rs.checkpoint.vision_families import VISION_FAMILIES


def parse(kind: str, **overrides: Any) -> Any:
    return parse_config(seeing_config(kind, **overrides), "config.json")


def vision_of(kind: str, **overrides: Any) -> QwenVision:
    vision = parse(kind, vision_config=overrides).vision
    assert isinstance(vision, QwenVision)
    return vision


def test_every_family() -> None:
    for kind, config in KINDS.items():
        found = parse(kind)
        assert found.architecture == config["architectures"][0]
        assert found.language == VISION_FAMILIES[found.architecture].language
        assert (found.hidden, found.vocab, found.layers) == (64, 384, 3)
        assert found.vision.image_token == 370
    assert parse("qwen2_5_vl").qkv_bias
    assert parse("qwen3_vl").qk_norm


def test_axes() -> None:
    assert parse("qwen2_vl").mrope == MRope((2, 3, 3))
    assert parse("qwen2_vl").mrope.axes() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert parse("qwen3_vl").mrope.axes() == [0, 1, 2, 0, 1, 2, 0, 0]
    assert parse("qwen3_vl").rope_scaling is None
    text = {"rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2]}}
    assert parse("qwen3_vl", text_config=text) == parse("qwen3_vl"), "the family says how the axes are laid out"


def test_a_flat_file_says_the_same() -> None:
    """Qwen2-VL's files before transformers 4.50 have the language model's fields at the root."""
    nested = seeing_config("qwen2_5_vl")
    text = nested.pop("text_config")
    assert parse_config({**nested, **text}, "config.json") == parse("qwen2_5_vl")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_transformers_wrote_says_the_same(tmp_path: Path, kind: str) -> None:
    model = reference_of(write_configs(tmp_path / "made", kind))
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path / "saved")
    values = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert parse_config(values, "config.json") == parse(kind)


def test_what_the_language_model_leaves_unsaid() -> None:
    config = seeing_config("qwen2_vl", tie_word_embeddings=True, eos_token_id=5)
    for key in ("rope_theta", "tie_word_embeddings", "eos_token_id", "rms_norm_eps"):
        del config["text_config"][key]
    found = parse_config(config, "config.json")
    assert (found.rope_theta, found.rms_eps, found.tie_embeddings, found.end_ids) == (1e6, 1e-5, True, (5,))


def test_towers() -> None:
    first, second, third = (vision_of(kind) for kind in KINDS)
    assert (first.width_in, first.width_out, first.inner, first.activation) == (32, 64, 96, "quick_gelu")
    assert (second.norm, second.mlp, second.window, second.whole_layers) == ("rms", "gated", 56, (1, 3))
    assert (third.position_side, third.stacked_layers, third.deep_stack) == (6, (0, 2), 2)
    assert (first.width(64), third.width(64)) == (64, 192)
    assert (first.patches.side, third.patches.side) == (14, 16)


REFUSED: list[tuple[str, dict[str, Any], type[CheckpointError], str]] = [
    ("qwen2_vl", {"vision_config": None}, CheckpointError, "vision_config is missing"),
    ("qwen2_vl", {"vision_config": {"hidden_size": 32}}, CheckpointError, "32 numbers, but .* 64 wide"),
    ("qwen2_vl", {"vision_config": {"num_heads": 3}}, CheckpointError, "num_heads"),
    ("qwen2_vl", {"vision_config": {"hidden_act": "relu"}}, UnsupportedModel, "hidden_act 'relu'"),
    ("qwen2_vl", {"vision_config": {"in_channels": 4}}, UnsupportedModel, "4 channels"),
    ("qwen2_5_vl", {"vision_config": {"window_size": 20}}, CheckpointError, "window_size"),
    ("qwen2_5_vl", {"vision_config": {"fullatt_block_indexes": [3, 1]}}, CheckpointError, "ascending"),
    ("qwen3_vl", {"vision_config": {"deepstack_visual_indexes": [9]}}, CheckpointError, "layers below 4"),
    ("qwen3_vl", {"vision_config": {"num_position_embeddings": 35}}, CheckpointError, "square"),
    ("qwen2_vl", {"text_config": {"rope_scaling": None}}, CheckpointError, "rope_scaling"),
    (
        "qwen2_vl",
        {"text_config": {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3]}}},
        CheckpointError,
        "three numbers",
    ),
    (
        "qwen2_vl",
        {"text_config": {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 4]}}},
        CheckpointError,
        "does not fit a head of 16",
    ),
    ("qwen2_vl", {"architectures": ["Qwen4VL"]}, UnsupportedModel, "Qwen2ForCausalLM, Qwen2VLForConditionalGeneration"),
]


@pytest.mark.parametrize(("kind", "overrides", "error", "words"), REFUSED)
def test_refusals(kind: str, overrides: dict[str, Any], error: type[CheckpointError], words: str) -> None:
    with pytest.raises(error, match=words):
        parse(kind, **overrides)


@pytest.mark.parametrize(
    ("name", "language", "vision"),
    [
        ("model.language_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight", None),
        ("model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight", None),
        ("language_model.model.norm.weight", "model.norm.weight", None),
        ("language_model.lm_head.weight", "lm_head.weight", None),
        ("lm_head.weight", "lm_head.weight", None),
        ("model.visual.merger.ln_q.weight", None, "visual.merger.ln_q.weight"),
        ("visual.merger.ln_q.weight", None, "visual.merger.ln_q.weight"),
    ],
)
def test_tensor_names(name: str, language: str | None, vision: str | None) -> None:
    assert (language_tensor(name), vision_tensor(name)) == (language, vision)


def test_unquantised_modules_by_either_name() -> None:
    section = {
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
        "modules_to_not_convert": ["model.language_model.layers.0.mlp.gate_proj", "model.visual.blocks.0.attn.qkv"],
    }
    found: Quantization = parse("qwen3_vl", quantization_config=section).quantization
    assert not found.covers("model.layers.0.mlp.gate_proj")
    assert found.covers("model.layers.1.mlp.gate_proj")
