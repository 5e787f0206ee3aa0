"""What a rank says when its model can't be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.tiny_models import make_tiny_model, tiny_config
from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.mock import MockBackend
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.backend.torch_backend import TorchBackend


def silent(name: str, seconds: float, detail: str = "") -> None:
    """A phase that nobody wants to hear of."""


def test_weights_that_no_memory_holds(tmp_path: Path) -> None:
    huge = tiny_config("llama", hidden_size=2**24, intermediate_size=2**24, num_attention_heads=4096)
    (tmp_path / "config.json").write_text(json.dumps(huge))
    options = BackendOptions(model_path=str(tmp_path), load_format="dummy", device="cpu")
    with pytest.raises(BackendError, match="do not fit the memory"):
        TorchBackend().init_model(options, silent)


@pytest.mark.parametrize("backend", [MockBackend, TorchBackend])
def test_a_context_longer_than_the_models(backend: type, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "tiny", "llama")
    options = BackendOptions(model_path=str(folder), device="cpu", context=513)
    with pytest.raises(BackendError, match="512"):
        backend().init_model(options, silent)
