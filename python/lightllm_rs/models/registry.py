"""Which class serves which architecture. A model's file is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module

from ..checkpoint import UnsupportedModel
from .base import CausalLM

# Architecture (config.json) -> (module beside this one, class).
MODELS: dict[str, tuple[str, str]] = {
    "LlamaForCausalLM": ("llama", "Llama"),
    "MistralForCausalLM": ("mistral", "Mistral"),
    "Qwen2ForCausalLM": ("qwen2", "Qwen2"),
    "Qwen3ForCausalLM": ("qwen3", "Qwen3"),
}


def model_class(architecture: str) -> type[CausalLM]:
    """The class of `architecture`. Raises `UnsupportedModel`, which lists the known ones."""
    if architecture not in MODELS:
        raise UnsupportedModel(
            f"architecture {architecture!r:.80} is not supported: the known ones are {', '.join(sorted(MODELS))}"
        )
    module, name = MODELS[architecture]
    found: type[CausalLM] = getattr(import_module(f".{module}", __package__), name)
    return found
