"""Two ranks over gloo give the logits of one rank. Each rank is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from helpers import parallel_rank
from helpers.model_runner import ModelRunner, Sequence
from helpers.quantised_models import CHANNEL, quantised_files
from helpers.tiny_models import make_tiny_model
from helpers.tiny_seeing import make_seeing_model
from lightllm_rs.checkpoint import UnsupportedModel, locate
from lightllm_rs.layers.norm import RmsNorm
from lightllm_rs.layers.parallel import TensorParallel
from lightllm_rs.models import load_model

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-tied-odd-vocabulary": ("llama", {"tie_word_embeddings": True, "vocab_size": 385}),
    "llama-biases-odd-vocabulary": ("llama", {"attention_bias": True, "mlp_bias": True, "vocab_size": 387}),
    "qwen2-replicated-kv-head": ("qwen2", {"num_key_value_heads": 1}),
    "qwen3": ("qwen3", {}),
}


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    folders = [str(make_tiny_model(tmp_path / name, kind, **config)) for name, (kind, config) in CONFIGS.items()]
    for name in ("qwen2-replicated-kv-head", "qwen3"):
        fp8 = make_tiny_model(tmp_path / f"{name}-fp8", *CONFIGS[name][:1], **CONFIGS[name][1])
        quantised_files(fp8, CHANNEL)
        folders.append(str(fp8))
    # Features of pictures in place of embeddings, and added after the first layers.
    folders.append(str(make_seeing_model(tmp_path / "qwen3-vl", "qwen3_vl")))
    results = [str(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    script = Path(parallel_rank.__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parent.parent), *sys.path])}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), "2", str(tmp_path / "store"), results[rank], *folders],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, stderr = process.communicate(timeout=240)
        assert process.returncode == 0, stderr
    first, second = (load_file(result) for result in results)
    for index, (name, folder) in enumerate((Path(folder).name, folder) for folder in folders):
        found = first[str(index)]
        assert torch.equal(found, second[str(index)]), f"{name}: every rank must sample from the same logits"
        expected = parallel_rank.logits_of(folder, TensorParallel())
        assert found.shape == expected.shape
        error = (found - expected).abs().max() / expected.abs().max()
        assert error.item() < 1e-5, name
        error = (first[f"{index} rounded"] - expected).norm() / expected.norm()
        assert (0.005 < error.item() < 0.06) if name.endswith("-fp8") else (error.item() < 1e-5), name


def shape(world: int, rank: int = 0) -> TensorParallel:
    """A rank of `world` for what needs no communication."""
    tp = TensorParallel()
    object.__setattr__(tp, "world", world)
    object.__setattr__(tp, "rank", rank)
    return tp


def test_kv_heads_fewer_than_ranks_are_replicated() -> None:
    owners = [shape(8, rank).kv_share(2).start for rank in range(8)]
    assert owners == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [shape(2, rank).kv_share(4) for rank in range(2)] == [slice(0, 2), slice(2, 4)]


@pytest.mark.parametrize(("world", "kv_heads"), [(2, 3), (3, 2), (4, 6)])
def test_kv_heads_that_do_not_divide_are_refused(world: int, kv_heads: int) -> None:
    with pytest.raises(UnsupportedModel, match=f"{kv_heads} key/value heads cannot be divided among {world}"):
        shape(world).kv_share(kv_heads)


def test_mlp_that_does_not_divide_is_refused_at_load(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", intermediate_size=111)
    with pytest.raises(UnsupportedModel, match="111 MLP columns"):
        load_model(locate(str(folder)), dtype=torch.float32, device=torch.device("cpu"), tp=shape(2))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_norms_take_turns(tmp_path: Path, layers: int) -> None:
    """No two sums in a row use the same memory, those of one pass and of the next included."""
    folder = make_tiny_model(tmp_path / "model", num_hidden_layers=layers)
    model = load_model(locate(str(folder)), dtype=torch.float32, device=torch.device("cpu"))
    turns: list[int] = []
    for module in model.modules():
        if isinstance(module, RmsNorm):
            module.register_forward_hook(lambda norm, *_: turns.append(norm.turn))
    runner = ModelRunner(model, dtype=torch.float32, device="cpu")
    text = Sequence(parallel_rank.TEXT)
    for _ in range(2):
        runner.step([], [(text, 5)])
    assert len(turns) == 2 * (2 * layers + 1)
    assert all(one != other for one, other in pairwise(turns))


def test_more_ranks_than_one_need_a_group() -> None:
    with pytest.raises(ValueError, match="process group"):
        TensorParallel(0, 2)
