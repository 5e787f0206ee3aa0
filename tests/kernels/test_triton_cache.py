"""Where Triton's shared objects are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lightllm_rs.kernels.triton_cache import keep_triton_cache_private

NAME = "TRITON_CACHE_DIR"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(NAME, "")  # so that what the test sets is taken back
    monkeypatch.delenv(NAME)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_folder_for_this_user_alone(base: Path) -> None:
    folder = base / "lightllm-rs" / "triton"
    folder.mkdir(parents=True, mode=0o755)
    assert keep_triton_cache_private() is None
    assert os.environ[NAME] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_operators_choice_stands(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "/chosen")
    assert keep_triton_cache_private() is None
    assert os.environ[NAME] == "/chosen"
    assert not list(base.iterdir())


def test_a_folder_that_cannot_be_made(base: Path) -> None:
    (base / "lightllm-rs").write_text("a file")
    found = keep_triton_cache_private()
    assert found is not None
    assert "set XDG_CACHE_HOME" in found
    assert NAME not in os.environ


def test_a_user_without_a_home(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container has it that runs under a number of its own."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 3_000_000_000)
    found = keep_triton_cache_private()
    assert found is not None
    assert "set XDG_CACHE_HOME" in found
    assert NAME not in os.environ
