"""config.json of a Hugging Face folder -> `ModelConfig`. What changes the arithmetic and is not built is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .config import Llama3Scaling, ModelConfig, merge_ids
from .errors import CheckpointError, UnsupportedModel
from .families import Family, family_of
from .fields import Fields
from .quantization import quantization_of
from .vision_config import MRope
from .vision_families import VISION_FAMILIES, language_of, text_fields

# A config or an index larger than this is not one.
MAX_JSON_BYTES = 256 << 20


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises `CheckpointError` if it is missing, too large, or not a JSON object."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_JSON_BYTES >> 20} MiB: not a config file")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: is {path.parent} a complete Hugging Face model folder?") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return value


def config_of_folder(folder: Path) -> ModelConfig:
    """Raises `CheckpointError` for a config that is not valid, `UnsupportedModel` for one that is not built."""
    path = folder / "config.json"
    values = read_json(path)
    end_ids = merge_ids(generation_end_ids(folder), tokenizer_end_ids(folder))
    return parse_config(values, str(path), end_ids)


def parse_config(values: dict[str, Any], source: str, extra_end_ids: tuple[int, ...] = ()) -> ModelConfig:
    """`ModelConfig` of the object in config.json. `extra_end_ids` come from the files beside it."""
    fields = Fields(values, source)
    architectures = values.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1 or not isinstance(architectures[0], str):
        raise fields.error("architectures", f"must be a list of one name, not {architectures!r:.80}")
    seeing = VISION_FAMILIES.get(architectures[0])
    vision = None if seeing is None else seeing.parse(fields)
    language = architectures[0] if seeing is None else language_of(fields, seeing)
    if seeing is not None:
        fields = text_fields(fields, seeing)
    family = family_of(language, VISION_FAMILIES)
    if (activation := fields.string("hidden_act", "silu")) not in ("silu", "swish"):
        raise UnsupportedModel(f"{source}: hidden_act {activation!r:.40} is not supported: only silu is")
    hidden = fields.integer("hidden_size")
    heads = fields.integer("num_attention_heads", high=4096)
    if not fields.has("head_dim") and hidden % heads:
        raise fields.error("hidden_size", f"({hidden}) is not divisible by num_attention_heads ({heads})")
    axes = None if seeing is None else seeing.mrope
    rope_theta, scaling = rope(fields, axes is not None)
    if vision is not None:
        vision.check(hidden)
    attention_bias = fields.flag("attention_bias", False)
    bos = fields.token_ids("bos_token_id")
    return ModelConfig(
        architecture=architectures[0],
        language=language,
        layers=fields.integer("num_hidden_layers", high=1024),
        hidden=hidden,
        heads=heads,
        kv_heads=fields.integer("num_key_value_heads", heads, high=4096),
        head_dim=fields.integer("head_dim", hidden // heads, high=4096),
        intermediate=fields.integer("intermediate_size"),
        vocab=fields.integer("vocab_size"),
        max_positions=fields.integer("max_position_embeddings", high=1 << 27),
        rms_eps=fields.number("rms_norm_eps", 1e-6, low=0.0, high=1.0),
        rope_theta=rope_theta,
        rope_scaling=scaling,
        tie_embeddings=fields.flag("tie_word_embeddings", False),
        qkv_bias=attention_bias if family.qkv_bias is None else family.qkv_bias,
        o_bias=attention_bias if family.o_bias is None else family.o_bias,
        mlp_bias=fields.flag("mlp_bias", False) if language == "LlamaForCausalLM" else False,
        qk_norm=family.qk_norm,
        bos_id=bos[0] if bos else None,
        end_ids=merge_ids(fields.token_ids("eos_token_id"), extra_end_ids),
        sliding_window=sliding_window(fields, family),
        dtype=fields.string("dtype", fields.string("torch_dtype", "")) or None,
        quantization=quantization_of(fields),
        mrope=None if axes is None else mrope_of(fields, axes == "interleaved"),
        vision=vision,
    )


def rope(fields: Fields, three_axes: bool = False) -> tuple[float, Llama3Scaling | None]:
    """(theta, scaling) from rope_parameters (transformers 5) or rope_theta and rope_scaling (before).

    three_axes: the section also names the axes of positions, under a type of its own in older files.
    """
    parameters = fields.section("rope_parameters")
    section = parameters or fields.section("rope_scaling")
    theta_from = parameters if parameters is not None and parameters.has("rope_theta") else fields
    theta = theta_from.number("rope_theta", 10000.0, low=1.0, high=1e12)
    for place in (fields, section):
        if place is not None and place.number("partial_rotary_factor", 1.0, low=0.0, high=1.0) != 1.0:
            raise UnsupportedModel(f"{place.source}: partial_rotary_factor is not supported")
    if section is None:
        return theta, None
    kind = section.string("rope_type", section.string("type", "default"))
    # Dynamic scaling begins past max_position_embeddings, where no context of ours reaches.
    if kind in ("default", "dynamic") or (kind == "mrope" and three_axes):
        return theta, None
    if kind != "llama3":
        raise UnsupportedModel(
            f"{section.source}: RoPE type {kind!r:.40} is not supported: only default, llama3 and dynamic are"
        )
    scaling = Llama3Scaling(
        factor=section.number("factor", low=1.0, high=1e6),
        low_freq_factor=section.number("low_freq_factor", low=1e-6, high=1e6),
        high_freq_factor=section.number("high_freq_factor", low=1e-6, high=1e6),
        original_max_positions=section.integer("original_max_position_embeddings", high=1 << 27),
    )
    if scaling.high_freq_factor <= scaling.low_freq_factor:
        raise section.error("high_freq_factor", "must be greater than low_freq_factor")
    return theta, scaling


def mrope_of(fields: Fields, interleaved: bool) -> MRope:
    """The axes of the rotary positions of a language model that sees (Qwen)."""
    section = fields.section("rope_parameters") or fields.section("rope_scaling")
    if section is None:
        raise fields.error("rope_scaling", "is missing: its mrope_section names the axes of positions")
    sections = section.token_ids("mrope_section")
    if len(sections) != 3:
        raise section.error("mrope_section", f"must be a list of three numbers, not {list(sections)!r:.60}")
    return MRope((sections[0], sections[1], sections[2]), interleaved)


def sliding_window(fields: Fields, family: Family) -> int | None:
    """The window in tokens where it is active in some layer, else None."""
    if family.window == "never":
        return None
    layer_types = fields.values.get("layer_types")
    if isinstance(layer_types, list) and "sliding_attention" not in layer_types:
        return None
    if family.window == "if_flagged":
        layers = fields.integer("num_hidden_layers", high=1024)
        first = fields.integer("max_window_layers", layers, low=0)
        if not fields.flag("use_sliding_window", False) or first >= layers:
            return None
    if "sliding_window" not in fields.values:
        return family.default_window
    return fields.integer("sliding_window", high=1 << 27) if fields.has("sliding_window") else None


def generation_config(folder: Path) -> dict[str, Any]:
    """generation_config.json, or {} where there is none."""
    path = folder / "generation_config.json"
    return read_json(path) if path.exists() else {}


def generation_end_ids(folder: Path) -> tuple[int, ...]:
    return Fields(generation_config(folder), str(folder / "generation_config.json")).token_ids("eos_token_id")


def tokenizer_end_ids(folder: Path) -> tuple[int, ...]:
    """The id of tokenizer_config.json's eos_token, from its own table or tokenizer.json's added tokens."""
    path = folder / "tokenizer_config.json"
    if not path.exists():
        return ()
    config = read_json(path)
    token = config.get("eos_token")
    if isinstance(token, dict):
        token = token.get("content")
    if not isinstance(token, str):
        return ()
    added = config.get("added_tokens_decoder")
    if isinstance(added, dict):
        for key, entry in added.items():
            if isinstance(entry, dict) and entry.get("content") == token and key.isdigit():
                return (int(key),)
    if (folder / "tokenizer.json").exists():
        for entry in read_json(folder / "tokenizer.json").get("added_tokens") or ():
            if isinstance(entry, dict) and entry.get("content") == token and isinstance(entry.get("id"), int):
                return (entry["id"],)
    return ()
