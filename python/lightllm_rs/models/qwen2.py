"""Qwen2 and Qwen2.5: Llama's arithmetic with a bias on queries, keys and values."""

from __future__ import annotations

from .llama import Llama


class Qwen2(Llama):
    """The biases come from `ModelConfig.qkv_bias`, which the architecture fixes."""
