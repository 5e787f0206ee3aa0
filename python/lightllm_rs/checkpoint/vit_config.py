"""`VitConfig`: a plain vision transformer, as CLIP, SigLIP and InternViT are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .errors import UnsupportedModel
from .fields import Fields


@dataclass(frozen=True)
class VitConfig:
    """Square pictures of `image` pixels a side in square patches of `patch`, learnt absolute positions.

    kind: which checkpoint names and which order of norms.
    qkv_bias: queries, keys and values have biases. qk_norm: RMS norms over all heads of queries and of keys together.
    rms: the layers' norms are RMS norms. final_norm: the last layer's output is normed (InternViT without pooling).
    """

    kind: Literal["clip", "siglip", "internvit"]
    layers: int
    hidden: int
    heads: int
    intermediate: int
    image: int
    patch: int
    eps: float
    activation: str
    qkv_bias: bool = True
    qk_norm: bool = False
    rms: bool = False
    final_norm: bool = False

    @property
    def side(self) -> int:
        """Patches in a row."""
        return self.image // self.patch

    @property
    def has_class(self) -> bool:
        """Whether a class token goes before the patches."""
        return self.kind != "siglip"


CLIP = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
INTERNVIT = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}

# What the fields are where config.json is silent, by model_type: (kind, fields). From transformers' config classes.
DEFAULTS: dict[str, tuple[Literal["clip", "siglip", "internvit"], dict[str, Any]]] = {
    "clip_vision_model": (
        "clip",
        {**CLIP, "image_size": 224, "patch_size": 32, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"},
    ),
    "siglip_vision_model": (
        "siglip",
        {**CLIP, "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"},
    ),
    "internvl_vision": (
        "internvit",
        {**INTERNVIT, "image_size": 448, "patch_size": 14, "layer_norm_eps": 1e-6, "hidden_act": "gelu"},
    ),
}


def vit_config(fields: Fields, default_type: str) -> VitConfig:
    """`VitConfig` of config.json's vision_config. Raises `CheckpointError`, `UnsupportedModel`."""
    model_type = fields.string("model_type", default_type)
    if model_type not in DEFAULTS:
        raise UnsupportedModel(
            f"{fields.source}: vision tower {model_type!r:.40} is not supported: the known ones are "
            f"{', '.join(sorted(DEFAULTS))}"
        )
    kind, defaults = DEFAULTS[model_type]
    fields = Fields(
        {**defaults, **{key: value for key, value in fields.values.items() if value is not None}}, fields.source
    )
    if fields.integer("num_channels", 3) != 3:
        raise UnsupportedModel(f"{fields.source}: num_channels must be 3")
    config = VitConfig(
        kind=kind,
        layers=fields.integer("num_hidden_layers", high=1024),
        hidden=fields.integer("hidden_size"),
        heads=fields.integer("num_attention_heads", high=4096),
        intermediate=fields.integer("intermediate_size"),
        image=square(fields, "image_size"),
        patch=square(fields, "patch_size"),
        eps=fields.number("layer_norm_eps", low=0.0, high=1.0),
        activation=fields.string("hidden_act"),
        **(internvit_fields(fields) if kind == "internvit" else {}),
    )
    if config.hidden % config.heads:
        raise fields.error("hidden_size", f"({config.hidden}) is not divisible by num_attention_heads ({config.heads})")
    if config.side < 1:
        raise fields.error("patch_size", f"({config.patch}) is larger than image_size ({config.image})")
    return config


def internvit_fields(fields: Fields) -> dict[str, Any]:
    norm = fields.string("norm_type", "layer_norm")
    if norm not in ("layer_norm", "rms_norm"):
        raise UnsupportedModel(f"{fields.source}: norm_type {norm!r:.40} is not supported")
    if not fields.flag("use_absolute_position_embeddings", True):
        raise UnsupportedModel(f"{fields.source}: a tower without absolute position embeddings is not supported")
    return {
        "qkv_bias": fields.flag("attention_bias", False),
        "qk_norm": fields.flag("use_qk_norm", False),
        "rms": norm == "rms_norm",
        "final_norm": not fields.flag("use_mean_pooling", True),
    }


def square(fields: Fields, key: str) -> int:
    """A side in pixels, given as a number or as a list of two equal ones."""
    value = fields.values.get(key)
    if isinstance(value, list):
        if len(value) != 2 or value[0] != value[1]:
            raise UnsupportedModel(f"{fields.source}: {key} must be square, not {value!r:.60}")
        fields = Fields({key: value[0]}, fields.source)
    return fields.integer(key, high=1 << 14)
