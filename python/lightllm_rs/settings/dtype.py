"""The dtype of the arithmetic: backends, visual servers and HTTP must agree on it, as features pass between them."""

from __future__ import annotations


def dtype_name(wanted: str, device: str) -> str:
    """Of `--dtype`; auto is bfloat16 on a GPU ("cuda") and float32 on a CPU."""
    if wanted == "auto":
        return "bfloat16" if device == "cuda" else "float32"
    return wanted
