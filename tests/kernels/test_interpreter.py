"""The Triton kernels on hosts without a GPU: Triton's interpreter, in a process of its own (see interpreted.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is there on Linux only")


def test_kernels_in_the_interpreter() -> None:
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "interpreted.py")]
    run = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, cwd=folder.parent.parent, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
