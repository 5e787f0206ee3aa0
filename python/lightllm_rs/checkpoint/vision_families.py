"""The families of models that see: how their config is read, and which language model is theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import UnsupportedModel
from .fields import Fields
from .internvl_vision import internvl_vision
from .llava_vision import llava_next_vision, llava_vision
from .qwen_vision import qwen2_vision, qwen3_vision, qwen25_vision
from .text_defaults import TEXT_DEFAULTS
from .vision_config import VisionConfig

LANGUAGES: dict[str, str] = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
"""`model_type` of a text_config -> architecture, for families that go with several language models."""


@dataclass(frozen=True)
class VisionFamily:
    """parse: the vision part of a config.json. language: architecture of the language model, None: text_config says.

    text_defaults: stand in for what text_config leaves out, where that is not what a plain language model would take.
    mrope: the language model has rotary positions of three axes, in sections or interleaved (see `MRope`).
    default_type: model_type of a text_config that does not say, where `language` is None.
    ties: tie_word_embeddings of a config.json whose root does not say.
    """

    parse: Callable[[Fields], VisionConfig]
    language: str | None = None
    text_defaults: Mapping[str, Any] = field(default_factory=dict)
    mrope: Literal["sections", "interleaved"] | None = None
    default_type: str = "llama"
    ties: bool = False


QWEN2_TEXT = {"rope_theta": 1e6, "rms_norm_eps": 1e-5, "max_position_embeddings": 32768}
QWEN3_TEXT = {"rope_theta": 5e5, "rms_norm_eps": 1e-6, "max_position_embeddings": 128000, "head_dim": 128}

VISION_FAMILIES: dict[str, VisionFamily] = {
    "InternVLForConditionalGeneration": VisionFamily(internvl_vision, default_type="qwen2", ties=True),
    "LlavaForConditionalGeneration": VisionFamily(llava_vision),
    "LlavaNextForConditionalGeneration": VisionFamily(llava_next_vision),
    "Qwen2VLForConditionalGeneration": VisionFamily(qwen2_vision, "Qwen2ForCausalLM", QWEN2_TEXT, "sections"),
    "Qwen2_5_VLForConditionalGeneration": VisionFamily(qwen25_vision, "Qwen2ForCausalLM", QWEN2_TEXT, "sections"),
    "Qwen3VLForConditionalGeneration": VisionFamily(qwen3_vision, "Qwen3ForCausalLM", QWEN3_TEXT, "interleaved"),
}


def text_fields(root: Fields, family: VisionFamily) -> Fields:
    """The language model's part of a config.json: text_config's, or the root's where there is none (older Qwen2-VL).

    Ids of special tokens, the dtype and whether embeddings are tied may be said in either.
    """
    text = root.section("text_config")
    if text is None:
        return Fields({**family.text_defaults, **root.values}, root.source)
    shared = ("bos_token_id", "eos_token_id", "tie_word_embeddings", "dtype", "torch_dtype", "quantization_config")
    above = {key: root.values[key] for key in shared if root.has(key)}
    # A null means that there is none, such as a sliding window; in what both may say it means nothing.
    own = {key: value for key, value in text.values.items() if value is not None or key not in shared}
    unsaid = family.text_defaults if family.language is not None else TEXT_DEFAULTS[text_type(root, family)]
    return Fields({**unsaid, **above, **own}, text.source)


def language_of(root: Fields, family: VisionFamily) -> str:
    """The language model's architecture. Raises `UnsupportedModel`."""
    if family.language is not None:
        return family.language
    return LANGUAGES[text_type(root, family)]


def text_type(root: Fields, family: VisionFamily) -> str:
    """model_type of the language model, one of `LANGUAGES`. Raises `UnsupportedModel`."""
    text = root.section("text_config")
    kind = family.default_type if text is None else text.string("model_type", family.default_type)
    if kind not in LANGUAGES:
        known = ", ".join(sorted(LANGUAGES))
        raise UnsupportedModel(f"{root.source}: a language model of type {kind!r:.40} is not supported: {known} are")
    return kind
