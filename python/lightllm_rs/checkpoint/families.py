"""The model families that are built, and what of their arithmetic the config files leave unsaid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .errors import UnsupportedModel


@dataclass(frozen=True)
class Family:
    """`qkv_bias`/`qk_norm`: fixed by the architecture (None: config.json's attention_bias says).
    `gguf`: llama.cpp's name of it. `permuted`: llama.cpp stores the Q and K rows in its own rotary order.
    `window`: when config.json's sliding_window is active. `default_window`: its value where config.json is silent."""

    gguf: str
    qkv_bias: bool | None = None
    o_bias: bool | None = None
    qk_norm: bool = False
    permuted: bool = False
    window: Literal["never", "if_given", "if_flagged"] = "never"
    default_window: int | None = None


FAMILIES: dict[str, Family] = {
    "LlamaForCausalLM": Family("llama", permuted=True),
    "MistralForCausalLM": Family(
        "llama", qkv_bias=False, o_bias=False, permuted=True, window="if_given", default_window=4096
    ),
    "Qwen2ForCausalLM": Family("qwen2", qkv_bias=True, o_bias=False, window="if_flagged"),
    "Qwen3ForCausalLM": Family("qwen3", qk_norm=True, window="if_flagged"),
}


ELSEWHERE = {
    "InternVLChatModel": "it needs code from its own folder, which is never run: take the same model in the format of "
    "transformers, whose name ends in -hf"
}
"""Architectures of models that are published in another format too, and what to do."""


def family_of(architecture: str, others: Iterable[str] = ()) -> Family:
    """Raises `UnsupportedModel`, which lists the known architectures, and `others` that the caller knows."""
    family = FAMILIES.get(architecture)
    if family is None:
        if architecture in ELSEWHERE:
            raise UnsupportedModel(f"architecture {architecture} is not supported: {ELSEWHERE[architecture]}")
        known = ", ".join(sorted({*FAMILIES, *others}))
        raise UnsupportedModel(f"architecture {architecture!r:.80} is not supported: the known ones are {known}")
    return family


def architecture_of_gguf(name: str) -> str:
    """The Hugging Face architecture of a GGUF `general.architecture`. Mistral's GGUF files say "llama" too."""
    for architecture, family in FAMILIES.items():
        if family.gguf == name:
            return architecture
    known = ", ".join(sorted({family.gguf for family in FAMILIES.values()}))
    raise UnsupportedModel(f"GGUF architecture {name!r:.80} is not supported: the known ones are {known}")
