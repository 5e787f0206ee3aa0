"""Weights and KV cache in 8-bit floats, on the CPU: what is rounded, how far the logits move, which files are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.model_runner import ModelRunner, Sequence
from helpers.quantised_models import CHANNEL, MATRICES, block_quantised_files, quantised_files, set_config
from helpers.tiny_models import make_tiny_model
from lightllm_rs.checkpoint import CheckpointError, Quantization, UnsupportedModel, locate
from lightllm_rs.kernels.fp8 import FP8, to_fp8
from lightllm_rs.kernels.quantize_fp8 import quantize_fp8
from lightllm_rs.layers.fp8_matrix import Fp8Matrix
from lightllm_rs.models import CausalLM, load_model

FBGEMM = {"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["lm_head"]}


def load(folder: Path, dtype: torch.dtype = torch.float32, quantize: bool = False) -> CausalLM:
    return load_model(locate(str(folder)), dtype=dtype, device=torch.device("cpu"), quantize=quantize)


def logits(model: CausalLM, kv: torch.dtype = torch.float32) -> torch.Tensor:
    """Prefill, a mixed step, a decode step of two rows: [47, vocab]."""
    runner = ModelRunner(model, dtype=kv, device="cpu")
    first, second = Sequence(list(range(3, 40))), Sequence(list(range(50, 70)))
    steps = [runner.step([], [(first, 30)], every=True), runner.step([first], [(second, 14)], every=True)]
    return torch.cat([*steps, runner.step([first, second])])


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def dequantised_files(folder: Path) -> None:
    """The numbers of `quantised_files` as float32 in an unquantised folder."""
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.removesuffix(".weight").endswith(MATRICES):
            values, scales = quantize_fp8(tensor)
            tensors[name] = values.float() * scales[:, None]
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_quantised_on_load(tmp_path: Path, kind: str) -> None:
    """All matrices of the layers hold the rounded numbers; rounding activations too moves the logits a little more."""
    folder = make_tiny_model(tmp_path / "model", kind)
    exact = logits(load(folder))
    model = load(folder, quantize=True)
    assert sum(isinstance(module, Fp8Matrix) for module in model.modules()) == 4 * model.config.layers
    whole = logits(model)
    for module in model.modules():
        if isinstance(module, Fp8Matrix):
            module.rounds_activations = False
    weights_only = logits(model)
    dequantised_files(folder)
    assert error(weights_only, logits(load(folder))) < 1e-5
    assert 0.005 < error(weights_only, exact) < error(whole, exact) < 0.12


@pytest.mark.parametrize("config", [CHANNEL, FBGEMM], ids=["compressed-tensors", "fbgemm"])
def test_a_quantised_checkpoint_is_the_model_quantised_on_load(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = make_tiny_model(tmp_path / "model", attention_bias=True)
    expected = logits(load(folder, quantize=True))
    quantised_files(folder, config)
    assert torch.equal(logits(load(folder)), expected)
    assert torch.equal(logits(load(folder, quantize=True)), expected), "--quantization fp8 changes nothing more"


def test_a_block_wise_checkpoint(tmp_path: Path) -> None:
    """Keys and values, 2 heads of 40, end inside blocks."""
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 16, "head_dim": 40}
    folder, plain = (make_tiny_model(tmp_path / name, "qwen3", **shape) for name in ("blocks", "plain"))
    exact = logits(load(folder))
    block_quantised_files(folder)
    block_quantised_files(plain, dequantise=True)
    model = load(folder)
    whole = logits(model)
    for module in model.modules():
        if isinstance(module, Fp8Matrix):
            module.rounds_activations = False
    found = logits(model)
    assert error(found, logits(load(plain))) < 1e-5
    assert 0.005 < error(found, exact) < error(whole, exact) < 0.12


@pytest.mark.parametrize("skip", ["model.layers.1.mlp.down_proj", "re:.*layers.0.self_attn.*"])
def test_modules_that_are_left_out(tmp_path: Path, skip: str) -> None:
    folder = make_tiny_model(tmp_path / "model")
    exact, whole = logits(load(folder)), logits(load(folder, quantize=True))
    part = "layers.0.self_attn" if skip.startswith("re:") else skip
    quantised_files(folder, {**CHANNEL, "ignore": ["lm_head", skip]}, part)
    found = logits(load(folder))
    assert error(found, exact) > 0
    assert not torch.equal(found, whole)


def test_files_that_contradict_their_config(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    set_config(folder, CHANNEL)
    with pytest.raises(
        CheckpointError, match=r"is torch.float32, but quantization_config makes it torch.float8_e4m3fn"
    ):
        load(folder)
    quantised_files(folder, {**CHANNEL, "ignore": ["q_proj"]})
    with pytest.raises(UnsupportedModel, match=r"k_proj is quantised and .*q_proj, computed with it, is not"):
        load(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"unexpected tensor|quantization_config does not say so"):
        load(folder)


def test_dummy_weights_of_a_quantised_checkpoint(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    set_config(folder, CHANNEL)
    (folder / "model.safetensors").unlink()
    model = load_model(
        locate(str(folder), load_format="dummy"), dtype=torch.float32, device=torch.device("cpu"), quantize=True
    )
    assert torch.isfinite(logits(model)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_kv_cache(tmp_path: Path, dtype: torch.dtype) -> None:
    """Keys and values are rounded, wherever they are read from: prefill, chunks, decode."""
    folder = make_tiny_model(tmp_path / "model", "qwen3")
    model = load(folder, dtype)
    exact, found = logits(model, dtype), logits(model, FP8)
    assert 0.001 < error(found, exact) < 0.12
    assert torch.equal(found, logits(model, FP8)), "and always in the same way"


def test_large_numbers_saturate() -> None:
    assert to_fp8(torch.tensor([1e6, -1e6, 449.0])).tolist() == [448.0, -448.0, 448.0]
    assert to_fp8(torch.tensor([float("nan")])).isnan().all()


def test_scales_do_not_depend_on_the_number_of_ranks(tmp_path: Path) -> None:
    """Each rank of two quantises its part as one rank quantises the whole."""
    folder = make_tiny_model(tmp_path / "model")
    source = load_file(folder / "model.safetensors")["model.layers.0.mlp.down_proj.weight"]
    whole = quantize_fp8(source)
    for rank in range(2):
        mine = slice(rank * 56, rank * 56 + 56)
        part = Fp8Matrix(64, 56, False, Quantization("load"), torch.float32, torch.device("cpu"))
        (wanted,) = part.wanted("down", slice(None), (64, 112), (slice(None), mine))
        wanted.store(source)
        assert part.weight is not None
        assert torch.equal(part.weight.float(), whole[0][:, mine].float())
        assert torch.equal(part.scale, whole[1])
