"""config.json as data: what is read, what is refused, and with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.quantised_models import CHANNEL
from helpers.tiny_models import LLAMA3_SCALING, make_tiny_model, tiny_config
from lightllm_rs.checkpoint import CheckpointError, Llama3Scaling, UnsupportedModel, locate
from lightllm_rs.checkpoint.families import FAMILIES
from lightllm_rs.checkpoint.hf_config import parse_config
from lightllm_rs.models import MODELS


def parse(kind: str = "llama", **overrides: Any) -> Any:
    return parse_config(tiny_config(kind, **overrides), "config.json")


def test_every_family_has_a_model() -> None:
    assert set(FAMILIES) == set(MODELS)


def test_families_fix_what_the_file_leaves_unsaid() -> None:
    assert not parse("llama").qkv_bias
    assert parse("llama", attention_bias=True).o_bias
    assert parse("qwen2").qkv_bias
    assert not parse("qwen2").o_bias
    assert parse("qwen2").head_dim == 16
    assert parse("qwen3").qk_norm
    assert not parse("mistral", attention_bias=True).qkv_bias


def test_rope_in_both_notations() -> None:
    old = parse(rope_scaling=LLAMA3_SCALING, rope_theta=5e5)
    new = parse(rope_parameters={**LLAMA3_SCALING, "rope_theta": 5e5}, rope_theta=None)
    assert old.rope_scaling == new.rope_scaling == Llama3Scaling(8.0, 1.0, 4.0, 64)
    assert old.rope_theta == new.rope_theta == 5e5
    assert parse(rope_scaling={"type": "default"}).rope_scaling is None
    assert parse(rope_scaling={"type": "dynamic", "factor": 2.0}).rope_scaling is None


UNSUPPORTED: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel.*LlamaForCausalLM, LlavaFor"),
    ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "RoPE type 'yarn'"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 4.0}}, "RoPE type 'linear'"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ("llama", {"quantization_config": {"quant_method": "awq"}}, "quant_method .awq. is not supported"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act 'gelu'"),
    ("llama", {"head_dim": 15}, "head_dim 15"),
    ("llama", {"head_dim": 512}, "head_dim 512"),
]


BLOCKS: dict[str, Any] = {"quant_method": "fp8", "weight_block_size": [128, 128]}


def channels(**changes: Any) -> dict[str, Any]:
    """CHANNEL with something else in its weights' scheme."""
    group = CHANNEL["config_groups"]["group_0"]
    return {**CHANNEL, "config_groups": {"group_0": {**group, "weights": {**group["weights"], **changes}}}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"quant_method": "gptq", "bits": 4}, "quant_method 'gptq' is not supported, only fp8, compressed-tensors and"),
    ({"quant_method": "fp8"}, "weight_block_size None is not supported"),
    ({**BLOCKS, "weight_block_size": [64, 128]}, r"weight_block_size \[64, 128\] is not supported"),
    ({**BLOCKS, "fmt": "e5m2"}, "fmt 'e5m2' is not supported, only e4m3 is"),
    ({**BLOCKS, "activation_scheme": "static"}, "activation_scheme 'static' is not supported"),
    ({**CHANNEL, "format": "pack-quantized"}, "format 'pack-quantized' is not supported"),
    ({**CHANNEL, "kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme 'not null' is not supported"),
    ({**CHANNEL, "config_groups": {}}, "config_groups must hold one group"),
    (channels(num_bits=4), "num_bits 4 is not supported"),
    (channels(type="int"), "type 'int' is not supported"),
    (channels(strategy="tensor"), "strategy 'tensor' is not supported, only channel is"),
    (channels(symmetric=False), "dynamic or symmetric"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_quantisation_that_is_not_built_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        parse(quantization_config=config)


def test_modules_that_are_not_quantised() -> None:
    named = parse(quantization_config={**BLOCKS, "modules_to_not_convert": ["lm_head", "layers.1.mlp"]}).quantization
    assert named is not None
    assert named.scales == "block"
    assert named.covers("model.layers.0.mlp.down_proj")
    assert named.covers("model.layers.11.mlp.down_proj")
    assert not named.covers("model.layers.1.mlp.down_proj")
    pattern = parse(quantization_config={**CHANNEL, "ignore": ["re:.*q_proj"]}).quantization
    assert pattern is not None
    assert not pattern.covers("model.layers.0.self_attn.q_proj")
    with pytest.raises(CheckpointError, match="no regular expression"):
        parse(quantization_config={**CHANNEL, "ignore": ["re:("]}).quantization.covers("x")  # type: ignore[union-attr]


@pytest.mark.parametrize(("kind", "overrides", "message"), UNSUPPORTED, ids=lambda value: str(value)[:40])
def test_arithmetic_that_is_not_built_is_refused_by_name(kind: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        parse(kind, **overrides)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"hidden_size": "64"}, "hidden_size must be an integer"),
    ({"hidden_size": True}, "hidden_size must be an integer"),
    ({"hidden_size": None}, "hidden_size is missing"),
    ({"num_hidden_layers": 0}, "num_hidden_layers must be between 1"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers must be between 1"),
    ({"vocab_size": -1}, "vocab_size must be between"),
    ({"num_key_value_heads": 3}, "4 attention heads cannot be shared by 3"),
    ({"head_dim": None, "hidden_size": 66}, "not divisible by num_attention_heads"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps must be between"),
    ({"rope_theta": float("inf")}, "rope_theta must be between"),
    ({"rope_theta": "1e4"}, "rope_theta must be a number"),
    ({"rope_scaling": [1]}, "rope_scaling must be an object"),
    ({"rope_scaling": {**LLAMA3_SCALING, "factor": 0}}, "factor must be between"),
    ({"rope_scaling": {**LLAMA3_SCALING, "high_freq_factor": 1.0}}, "high_freq_factor must be greater"),
    ({"tie_word_embeddings": 1}, "tie_word_embeddings must be true or false"),
    ({"eos_token_id": 384}, "token id 384 is outside the vocabulary of 384"),
    ({"eos_token_id": [2, "3"]}, "eos_token_id must be a token id"),
    ({"architectures": None}, "architectures must be a list of one name"),
    ({"max_position_embeddings": 1.5}, "max_position_embeddings must be an integer"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_values_out_of_range_are_refused_by_name(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        parse(**overrides)
    assert "\n" not in str(caught.value)


def test_sliding_window_counts_only_where_it_is_active() -> None:
    assert parse("llama", sliding_window=64).sliding_window is None
    assert parse("mistral").sliding_window is None
    assert parse("mistral", sliding_window=64).sliding_window == 64
    assert parse("qwen2", sliding_window=64).sliding_window is None
    assert parse("qwen2", sliding_window=64, use_sliding_window=True, max_window_layers=1).sliding_window == 64
    assert parse("qwen2", sliding_window=64, use_sliding_window=True, max_window_layers=2).sliding_window is None
    older = tiny_config("mistral")
    del older["sliding_window"]  # then transformers' default of 4096 holds
    assert parse_config({**older, "max_position_embeddings": 8192}, "config.json").sliding_window == 4096


def test_context_is_bounded_by_the_model_and_by_an_active_window() -> None:
    config = parse("mistral", sliding_window=64)
    assert config.context(64) == 64
    with pytest.raises(UnsupportedModel, match="--max-model-len 64"):
        config.context()
    assert parse().context() == 512
    with pytest.raises(CheckpointError, match=r"513 tokens .* supports 512"):
        parse().context(513)


def test_end_ids_are_the_union_of_all_files(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", eos_token_id=5)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 5]}))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["eos_token"] = {"content": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert locate(str(folder)).config().end_ids == (5, 7, 0)


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "[" * 100_000, "\xff"], ids=lambda value: value[:5])
def test_a_config_that_is_not_an_object_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        locate(str(tmp_path)).config()
    assert "\n" not in str(caught.value)
