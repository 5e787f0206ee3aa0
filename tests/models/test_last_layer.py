"""The last layer goes on with the last tokens of the rows alone, and says the same of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from helpers.model_runner import ModelRunner, Sequence
from helpers.tiny_models import make_tiny_model
from lightllm_rs.checkpoint import locate
from lightllm_rs.models import CausalLM, load_model

PROMPTS = [(3, 21), (70, 6), (120, 1)]
"""First id and tokens of each."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return loaded(tmp_path_factory.mktemp("model"))


def loaded(folder: Path, **config: int) -> CausalLM:
    checkpoint = locate(str(make_tiny_model(folder, **config)))
    return load_model(checkpoint, dtype=torch.float32, device=torch.device("cpu"))


def ends(model: CausalLM, every: bool) -> Tensor:
    """Logits of the last tokens of a step that prefills and of one that decodes too, one after the other."""
    runner = ModelRunner(model, dtype=torch.float32, device="cpu")
    prompts = [Sequence(list(range(first, first + count + 1))) for first, count in PROMPTS]
    counts = [count for _, count in PROMPTS]
    late, lasts = Sequence(list(range(200, 230))), torch.tensor(counts).cumsum(0) - 1
    first = runner.step([], list(zip(prompts, counts, strict=True)), every=every)
    second = runner.step(prompts, [(late, 17)], every=every)
    if every:
        first, second = first[lasts], second[[*range(len(prompts)), -1]]
    # What the last layer wrote is read here.
    return torch.cat([first, second, runner.step([], [(late, 13)])])


def test_the_numbers_stay(model: CausalLM) -> None:
    torch.testing.assert_close(ends(model, every=False), ends(model, every=True), rtol=1e-5, atol=1e-5)


def test_the_last_layer_alone_goes_on_with_fewer(model: CausalLM) -> None:
    rows: list[list[int]] = [[] for _ in model.layers]
    layers = zip(model.layers, rows, strict=True)
    hooks = [layer.mlp.register_forward_hook(counted(into)) for layer, into in layers]
    try:
        ends(model, every=False)
    finally:
        for hook in hooks:
            hook.remove()
    assert [*map(tuple, rows)] == [(28, 20, 13)] * (len(rows) - 1) + [(3, 4, 1)]


def counted(into: list[int]) -> object:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        into.append(output[0].shape[0])

    return hook


def test_the_layers_that_compile_all_kernels(model: CausalLM) -> None:
    layers = list(model.layers)
    with model.outer_layers_only():
        assert list(model.layers) == [layers[0], layers[-1]]
    assert list(model.layers) == layers


def test_a_model_of_one_layer(tmp_path: Path) -> None:
    model = loaded(tmp_path, num_hidden_layers=1)
    torch.testing.assert_close(ends(model, every=False), ends(model, every=True), rtol=1e-5, atol=1e-5)
    with model.outer_layers_only():
        assert len(model.layers) == 1
