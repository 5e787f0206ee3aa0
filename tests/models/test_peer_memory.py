"""Ranks that add up through each other's memory give what one rank gives; runs on one GPU too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

from helpers import peer_rank
from helpers.tiny_models import make_tiny_model

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("kind", "dtype", "tolerance"), [("llama", "float32", 1e-4), ("qwen3", "bfloat16", 0.06)])
def test_two_ranks_equal_one(tmp_path: Path, kind: str, dtype: str, tolerance: float) -> None:
    folder = make_tiny_model(tmp_path / "model", kind)
    script = Path(peer_rank.__file__)
    results = [str(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parent.parent), *sys.path])}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), "2", str(tmp_path / "store"), results[rank], dtype, str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in ranks:
            _, stderr = process.communicate(timeout=240)
            assert process.returncode == 0, stderr
    finally:
        for process in ranks:
            process.kill()
    first, second = (load_file(result) for result in results)
    assert torch.isfinite(first["ranks"]).all()
    assert torch.equal(first["ranks"], second["ranks"]), "every rank must go on from the same numbers"
    error = (first["ranks"] - first["alone"]).abs().max() / first["alone"].abs().max()
    assert error.item() < tolerance
