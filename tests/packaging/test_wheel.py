"""The built wheel holds what a user needs, and works where it is unpacked."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_WHEEL_BYTES = 15 << 20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree; the compiled part comes from the build that the tests already needed."""
    out = tmp_path_factory.mktemp("wheel")
    maturin = Path(sys.executable).with_name("maturin")
    command = [str(maturin), "build", "--release", "--out", str(out), "--interpreter", sys.executable]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = out.glob("*.whl")
    return built


def test_one_abi3_wheel_of_moderate_size(wheel: Path) -> None:
    assert "-cp310-abi3-" in wheel.name
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_it_holds_every_module_and_kernel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "lightllm_rs/_core.abi3.so" in names
    assert "lightllm_rs/py.typed" in names
    package = ROOT / "python" / "lightllm_rs"
    modules = {str(path.relative_to(package.parent)) for path in package.rglob("*.py")}
    kernels = {f"lightllm_rs/kernels/{path.relative_to(ROOT / 'kernels')}" for path in (ROOT / "kernels").rglob("*.py")}
    assert len(kernels) > 10
    assert modules | kernels <= names
    assert not [name for name in names if "tests/" in name or "__pycache__" in name]


def test_it_gives_the_command(wheel: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path)]
    subprocess.run([*pip, str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "bin" / "lightllm-rs"), "version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    version = wheel.name.split("-")[1]
    assert version in done.stdout
    code = "import lightllm_rs.kernels as k, lightllm_rs._core as c; print(k.__file__); print(c.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(line.startswith(str(tmp_path)) for line in done.stdout.split())
