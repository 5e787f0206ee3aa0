"""The limits of a GPU in the benchmark's cases, against sums made by hand for the shape of Llama-3.1-8B."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cases import CASES, Case
from limits import Gpu, Model, least_seconds, limits, model_of

LLAMA_8B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
GPU = Gpu(3.0e12, 794e12)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    return model_of(tmp_path)


def test_sizes(model: Model) -> None:
    assert model.weights + model.head == 7_504_658_432  # 8.03 billion less the input embedding and the norms
    assert model.kv_bytes == 131_072
    assert model.step_seconds(GPU) == pytest.approx(5.0e-3, rel=0.01)


def test_the_sums_of_the_cases(model: Model) -> None:
    found = {name: limit for name, (_, limit) in limits(model, GPU).items()}
    assert found["single"] == pytest.approx(5.0, rel=0.01)
    # 17.5 s of matrix work, 9.9 s of KV reads, 0.3 s of attention.
    assert found["mixed"] == pytest.approx(768 * 256 / 27.7, rel=0.01)
    assert found["decode"] == pytest.approx(512 * 512 / 10.6, rel=0.01)
    assert found["prefill"] == pytest.approx(128 * 4112 / 10.3, rel=0.01)
    assert found["prefix"] == pytest.approx(139, rel=0.01)
    assert "rate" not in found


def test_a_prefix_read_by_every_request_costs_more(model: Model) -> None:
    seconds = least_seconds(model, CASES["prefix"], GPU)
    assert CASES["prefix"].requests / seconds == pytest.approx(64, rel=0.01)


def test_a_lone_stream_is_bound_by_the_weights(model: Model) -> None:
    assert least_seconds(model, Case(1, 1000, 1, 1), GPU) == pytest.approx(1000 * model.step_seconds(GPU), rel=0.01)
