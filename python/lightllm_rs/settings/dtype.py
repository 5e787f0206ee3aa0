"""The dtype of the arithmetic: backends, visual servers and HTTP must agree on it, as features pass between them."""

from __future__ import annotations

SHORT = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
"""Names that people know from other servers."""


def dtype_name(wanted: str, device: str) -> str:
    """Of `--dtype`; auto is bfloat16 on a GPU ("cuda") and float32 on a CPU."""
    if wanted == "auto":
        return "bfloat16" if device == "cuda" else "float32"
    return SHORT.get(wanted, wanted)
