"""Triton builds a small C launcher at run time: what it needs must be on the host. Nothing is imported to find out."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path


def missing_toolchain() -> str | None:
    """One line that says what a CUDA host lacks for Triton and how to get it; None where nothing is missing."""
    chosen = os.environ.get("CC")
    if chosen is not None:
        if shutil.which(chosen.split()[0] if chosen.split() else "") is None:
            return f"the compiler that CC names ({chosen!r}) is not there: Triton kernels need a C compiler"
    elif not any(shutil.which(name) for name in ("gcc", "clang", "cc")):
        return "no C compiler: Triton kernels need one (install gcc, or set CC to a compiler)"
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not headers.exists():
        return f"no Python headers ({headers} is missing): Triton kernels need them (install python3-dev)"
    return None
