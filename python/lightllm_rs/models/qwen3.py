"""Qwen3 (dense): Llama's arithmetic with an RMS norm of each query and key head before the rotation."""

from __future__ import annotations

from .llama import Llama


class Qwen3(Llama):
    """The norms come from `ModelConfig.qk_norm`, and run inside the rotary kernel."""
