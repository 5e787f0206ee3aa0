"""Reading weights: shards, wrong tensors, truncated files, GGUF of several architectures and types."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers.model_runner import ModelRunner, Sequence
from helpers.tiny_models import LLAMA3_SCALING, make_tiny_model, tiny_config, tiny_tensors, write_weights
from lightllm_rs.checkpoint import CheckpointError, UnsupportedModel, locate
from lightllm_rs.checkpoint.gguf_tensors import INNER, OUTER
from lightllm_rs.layers.rotary import frequencies
from lightllm_rs.models import CausalLM, load_model

CPU = torch.device("cpu")


def load(path: Path) -> CausalLM:
    return load_model(locate(str(path)), dtype=torch.float32, device=CPU)


def logits(path: Path) -> torch.Tensor:
    runner = ModelRunner(load(path), dtype=torch.float32, device="cpu")
    return runner.step([], [(Sequence(list(range(5, 35))), 30)], every=True)


def test_shards_and_single_file_are_the_same_model(tmp_path: Path) -> None:
    one = logits(make_tiny_model(tmp_path / "one"))
    three = logits(make_tiny_model(tmp_path / "three", shards=3))
    assert torch.equal(one, three)


@pytest.mark.parametrize("keep", [0, 4, 200, 60_000])
def test_truncated_safetensors(tmp_path: Path, keep: int) -> None:
    folder = make_tiny_model(tmp_path / "model")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_missing_shards_and_bad_indexes(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.safetensors is missing"):
        load(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": "../../etc/passwd"}}))
    with pytest.raises(CheckpointError, match="not a plain file name"):
        load(folder)
    index.write_text(json.dumps({"weight_map": [1]}))
    with pytest.raises(CheckpointError, match="weight_map"):
        load(folder)
    index.unlink()
    for file in folder.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors file"):
        load(folder)


def test_missing_unexpected_and_misshapen_tensors(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    tensors = tiny_tensors(tiny_config())

    def loading(changed: dict[str, np.ndarray]) -> None:
        write_weights(folder, changed)
        load(folder)

    less = {name: tensor for name, tensor in tensors.items() if name != "model.norm.weight"}
    with pytest.raises(CheckpointError, match=r"1 tensors are missing .* model\.norm\.weight"):
        loading(less)
    with pytest.raises(CheckpointError, match=r"unexpected tensor 'model\.layers\.0\.extra'"):
        loading({**tensors, "model.layers.0.extra": tensors["model.norm.weight"]})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight has shape \[63\], but the config says \[64\]"):
        loading({**tensors, "model.norm.weight": tensors["model.norm.weight"][:63]})
    loading({**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": tensors["model.norm.weight"][:8]})


def test_quantised_safetensors_are_refused(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    save_file({"model.norm.weight": torch.ones(64, dtype=torch.int8)}, folder / "model.safetensors")
    with pytest.raises(UnsupportedModel, match="int8"):
        load(folder)


def permuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of Q and K rows: the two elements of a rotary pair become neighbours."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def write_gguf(path: Path, kind: str, config: dict[str, Any], quantised: gguf.GGMLQuantizationType | None) -> Path:
    """The tiny model of `config` as a GGUF file, written with the gguf package's own writer."""
    names = {hf: ggml for ggml, hf in OUTER.items()}
    inner = {hf: ggml for ggml, hf in INNER.items()}
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer = gguf.GGUFWriter(path, "llama" if kind == "mistral" else kind)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(0)
    writer.add_token_list(["a", "b", "ü"])
    writer.add_token_scores([0.5, 1.5, 2.5])
    for name, tensor in tiny_tensors(config).items():
        stem, _, suffix = name.rpartition(".")
        if stem in names:
            ggml = f"{names[stem]}.{suffix}"
        else:
            _, _, layer, rest = stem.split(".", 3)
            ggml = f"blk.{layer}.{inner[rest]}.{suffix}"
        if kind in ("llama", "mistral") and rest_is(ggml, ".attn_q.", ".attn_k."):
            heads = config["num_attention_heads" if ".attn_q." in ggml else "num_key_value_heads"]
            tensor = permuted(tensor, heads)
        tensor = np.ascontiguousarray(tensor)
        if quantised is not None and tensor.ndim == 2:
            writer.add_tensor(ggml, gguf.quants.quantize(tensor, quantised), raw_dtype=quantised)
        else:
            writer.add_tensor(ggml, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rest_is(name: str, *parts: str) -> bool:
    return any(part in name for part in parts)


@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "attention_bias": True}),
        ("mistral", {}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
    ],
)
def test_gguf_is_the_model_it_was_made_of(tmp_path: Path, kind: str, overrides: dict[str, Any]) -> None:
    folder = make_tiny_model(tmp_path / "model", kind, **overrides)
    file = write_gguf(tmp_path / "model.gguf", kind, tiny_config(kind, **overrides), None)
    checkpoint = locate(str(file))
    assert checkpoint.config().end_ids == (2, 0)
    assert checkpoint.gguf.metadata["tokenizer.ggml.tokens"] == ["a", "b", "ü"]
    assert checkpoint.gguf.metadata["tokenizer.ggml.scores"].tolist() == [0.5, 1.5, 2.5]
    assert torch.equal(logits(file), logits(folder))


QUANTISED = [gguf.GGMLQuantizationType[name] for name in ("Q8_0", "Q4_0", "Q4_1", "Q5_1", "F16", "BF16")]


@pytest.mark.parametrize("quantised", QUANTISED, ids=lambda value: value.name)
def test_quantised_gguf(tmp_path: Path, quantised: gguf.GGMLQuantizationType) -> None:
    """The logits of a quantised file are near those of the exact one, as its bits allow."""
    overrides = {"intermediate_size": 96}  # a multiple of the blocks of 32
    folder = make_tiny_model(tmp_path / "model", **overrides)
    file = write_gguf(tmp_path / "model.gguf", "llama", tiny_config(**overrides), quantised)
    exact, found = logits(folder), logits(file)
    error = ((found - exact).norm() / exact.norm()).item()
    coarse = quantised.name in ("Q4_0", "Q4_1", "Q5_1")
    assert 0 < error < (0.5 if coarse else 0.05)


def test_llama3_scaling_in_gguf_is_a_tensor_of_factors(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", rope_scaling=LLAMA3_SCALING)
    scaled = locate(str(folder)).config()
    plain = locate(str(make_tiny_model(tmp_path / "plain"))).config()
    factors = (frequencies(plain) / frequencies(scaled)).tolist()
    assert max(factors) == pytest.approx(8.0)
    torch.testing.assert_close(frequencies(replace(plain, rope_factors=tuple(factors))), frequencies(scaled))


@pytest.mark.parametrize("keep", [0, 3, 4, 30, 400, 3000, 200_000])
def test_truncated_gguf(tmp_path: Path, keep: int) -> None:
    file = write_gguf(tmp_path / "model.gguf", "llama", tiny_config(), None)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.gguf") as caught:
        load(file)
    assert "\n" not in str(caught.value)


def test_gguf_with_flipped_bytes_never_breaks_the_reader(tmp_path: Path) -> None:
    """Any damage to the header is a typed error or a readable file, never another exception or an endless loop."""
    file = write_gguf(tmp_path / "model.gguf", "llama", tiny_config(), None)
    good = file.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(good[:4000])
        for at in random.integers(4, 3000, size=3):
            data[at] = random.integers(0, 256)
        file.write_bytes(data)
        try:
            locate(str(file)).config()
        except CheckpointError:
            refused += 1
    assert refused > 50


def test_unknown_gguf_architecture(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(file, "gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedModel, match="'gpt2' is not supported: the known ones are llama, qwen2, qwen3"):
        locate(str(file)).config()
