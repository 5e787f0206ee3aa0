"""Mistral: Llama's arithmetic. Its sliding window is refused by `ModelConfig.context` where it would be active."""

from __future__ import annotations

from .llama import Llama


class Mistral(Llama):
    """What differs (no biases, the window's default) is in the config."""
