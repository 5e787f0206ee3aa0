"""Servers made of real processes, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.tiny_models import make_tiny_model
from server import Server, serving


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with random weights and a real tokenizer."""
    return Path(make_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama", "llama"))


@pytest.fixture(scope="session")
def tiny_server(tiny_folder: Path) -> Iterator[Server]:
    """The tiny model on the CPU in float32, with fewer slots than the tests have streams."""
    flags = ("--device", "cpu", "--max-num-seqs", "48", "--kv-cache-tokens", "6144", "--max-num-batched-tokens", "256")
    with serving(str(tiny_folder), *flags) as server:
        yield server
