"""Every family against `transformers` on tiny random checkpoints, float32 on the CPU: max|a-b| / max|b| under 1e-4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.model_runner import ModelRunner, Sequence
from helpers.reference_model import reference_logits
from helpers.tiny_models import LLAMA3_SCALING, make_tiny_model
from lightllm_rs.checkpoint import locate
from lightllm_rs.layers.matrix import Matrix
from lightllm_rs.models import load_model

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama3-scaling": ("llama", {"rope_scaling": LLAMA3_SCALING, "rope_theta": 500000.0}),
    "llama-dynamic-scaling": ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "llama-tied-odd-vocabulary": ("llama", {"tie_word_embeddings": True, "vocab_size": 397}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-one-kv-head": ("llama", {"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 20}),
    "llama-no-groups": ("llama", {"num_key_value_heads": 4}),
    "mistral": ("mistral", {"hidden_size": 72, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 8}),
    "mistral-window-as-long-as-the-context": ("mistral", {"sliding_window": 512}),
    "qwen2": ("qwen2", {}),
    "qwen2-tied": ("qwen2", {"tie_word_embeddings": True, "vocab_size": 391}),
    "qwen3": ("qwen3", {}),
    "qwen3-wide-heads-tied": ("qwen3", {"head_dim": 32, "tie_word_embeddings": True, "rms_norm_eps": 1e-6}),
}
TOLERANCE = 1e-4


@pytest.fixture(params=CONFIGS, name="folder")
def make_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind, overrides = CONFIGS[request.param]
    return make_tiny_model(tmp_path / "model", kind, **overrides)


def runner_of(folder: Path, **options: Any) -> ModelRunner:
    model = load_model(locate(str(folder)), dtype=torch.float32, device=torch.device("cpu"))
    return ModelRunner(model, dtype=torch.float32, device="cpu", **options)


def texts(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(3, 380, (length,), generator=generator).tolist() for length in lengths]


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error.item() < TOLERANCE


def test_every_way_through_a_text(folder: Path) -> None:
    """Whole prefill, chunks, decode and mixed batches give the logits of one pass over the text."""
    first, second, third = texts(70, 41, 23)
    wanted = reference_logits(folder, [first, second, third])
    runner = runner_of(folder)

    whole = runner.step([], [(Sequence(first), 70), (Sequence(third), 23)], every=True)
    assert_close(whole, torch.cat((wanted[0], wanted[2])))

    a, b, c = Sequence(first), Sequence(second), Sequence(third)
    for start, size in ((0, 1), (1, 30), (31, 9), (40, 25)):  # chunks that end inside pages and on their borders
        assert_close(runner.step([], [(a, size)], every=True), wanted[0][start : start + size])
    assert_close(runner.step([a]), wanted[0][65:66])
    mixed = runner.step([a], [(b, 17), (c, 23)], every=True)
    assert_close(mixed, torch.cat((wanted[0][66:67], wanted[1][:17], wanted[2])))
    mixed = runner.step([a], [(b, 20)], every=True)
    assert_close(mixed, torch.cat((wanted[0][67:68], wanted[1][17:37])))
    assert_close(runner.step([a, b]), torch.stack((wanted[0][68], wanted[1][37])))
    assert_close(runner.step([b, a]), torch.stack((wanted[1][38], wanted[0][69])))


def test_products_that_are_added_to_the_residual(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where the residual is written in place: nothing reads what it was before."""
    added: list[int] = []

    def adds(matrix: Matrix, x: torch.Tensor) -> bool:
        added.append(x.shape[0])
        return matrix.weight is not None and matrix.bias is None

    monkeypatch.setattr(Matrix, "adds", adds)
    monkeypatch.setattr(Matrix, "pack", lambda matrix: None)
    test_every_way_through_a_text(folder)
    assert added


def test_prefix_hit(folder: Path) -> None:
    """A request that starts on pages another one filled gets the logits of its own whole text."""
    (text,) = texts(60)
    other = [*text[:24], *texts(60)[0][::-1][:30]]
    wanted = reference_logits(folder, [text, other])
    runner = runner_of(folder)
    first = Sequence(text)
    runner.step([], [(first, 60)])
    hit = Sequence(other, done=24, pages=first.pages[:3])  # three pages of 8 tokens
    assert_close(runner.step([], [(hit, 30)], every=True), wanted[1][24:])
    again = Sequence(text, done=56, pages=first.pages[:7])
    assert_close(runner.step([hit_again(hit, other)], [(again, 4)], every=True)[1:], wanted[0][56:])


def hit_again(hit: Sequence, text: list[int]) -> Sequence:
    """The same pages one token back: a decode row beside the prefill."""
    return Sequence(text, done=len(text) - 1, pages=list(hit.pages))


@pytest.mark.parametrize("page_size", [1, 5, 64])
def test_page_sizes(tmp_path: Path, page_size: int) -> None:
    folder = make_tiny_model(tmp_path / "model")
    (text,) = texts(40)
    (wanted,) = reference_logits(folder, [text])
    runner, row = runner_of(folder, page_size=page_size, pages=80), Sequence(text)
    assert_close(runner.step([], [(row, 38)], every=True), wanted[:38])
    assert_close(runner.step([row]), wanted[38:39])
    assert_close(runner.step([row]), wanted[39:40])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(folder: Path, dtype: torch.dtype) -> None:
    """bf16 and fp16 keep to the float32 logits as closely as their rounding of every weight allows."""
    (text,) = texts(40)
    (wanted,) = reference_logits(folder, [text])
    model = load_model(locate(str(folder)), dtype=dtype, device=torch.device("cpu"))
    runner, row = ModelRunner(model, dtype=dtype, device="cpu"), Sequence(text)
    logits = torch.cat((runner.step([], [(row, 39)], every=True), runner.step([row])))
    assert logits.dtype == torch.float32
    error = (logits - wanted).abs().max() / wanted.abs().max()
    assert error.item() < (0.06 if dtype == torch.bfloat16 else 0.01)


def test_dummy_weights_need_the_config_alone(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", tie_word_embeddings=True)
    (folder / "model.safetensors").unlink()
    checkpoint = locate(str(folder), load_format="dummy")
    runs = []
    for seed in (0, 0, 1):
        model = load_model(checkpoint, dtype=torch.float32, device=torch.device("cpu"), seed=seed)
        runner = ModelRunner(model, dtype=torch.float32, device="cpu")
        runs.append(runner.step([], [(Sequence(texts(9)[0]), 9)]))
    assert torch.isfinite(runs[0]).all()
    assert torch.equal(runs[0], runs[1]), "one seed, one model"
    assert not torch.equal(runs[0], runs[2])
