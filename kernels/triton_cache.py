"""Where Triton keeps what it has compiled: it loads shared objects from there. Nothing is imported to say so."""

from __future__ import annotations

import os
from pathlib import Path


def keep_triton_cache_private() -> str | None:
    """Points Triton at a folder that only this user can write; one line that says why that cannot be, or None."""
    if "TRITON_CACHE_DIR" in os.environ:
        return None
    try:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:
        return "no home folder for compiled kernels: set XDG_CACHE_HOME to a folder of yours"
    folder = Path(base) / "lightllm-rs" / "triton"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        return f"cannot make {folder}: {error.strerror}; set XDG_CACHE_HOME to a folder of yours"
    if folder.stat().st_uid != os.getuid():
        return f"{folder} belongs to somebody else: set XDG_CACHE_HOME to a folder of yours"
    os.environ["TRITON_CACHE_DIR"] = str(folder)
    return None
