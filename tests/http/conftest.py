"""HTTP processes shared by the tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from helpers.http_process import HttpProcess, http_process
from helpers.tiny_models import make_tiny_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a byte-level tokenizer and a ChatML template."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def shared_process(tiny_folder: Path) -> Iterator[HttpProcess]:
    """One process for all tests that need no settings of their own."""
    with tempfile.TemporaryDirectory(prefix="http-") as run_dir, http_process(Path(run_dir), tiny_folder) as process:
        yield process


@pytest.fixture
def process(shared_process: HttpProcess) -> HttpProcess:
    """The shared process, with nothing left of the test before."""
    shared_process.wait(lambda: not shared_process.live, "the test before left requests behind")
    shared_process.reset()
    return shared_process


@pytest.fixture
def client(process: HttpProcess) -> Iterator[httpx.Client]:
    """An HTTP client of that process."""
    with httpx.Client(base_url=process.url, timeout=60) as client:
        yield client


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A short path, as Unix sockets need one, and not of the name that any service removes where nobody locks it."""
    with tempfile.TemporaryDirectory(prefix="http-") as folder:
        yield Path(folder)
