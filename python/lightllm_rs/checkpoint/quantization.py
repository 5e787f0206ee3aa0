"""quantization_config of config.json: 8-bit floating point weights (e4m3), and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .errors import CheckpointError, UnsupportedModel
from .fields import Fields
from .tensor_names import language_tensor

BLOCK = 128
"""Rows and columns that share a scale in block-wise checkpoints."""

ADVICE = "use other weights of this model, or unquantised ones with --quantization fp8"


@dataclass(frozen=True)
class Quantization:
    """The layers' matrices are e4m3, weight = values * scale. Embedding, norms, biases and head never are.

    scales: "load": the checkpoint has none, they are made while loading, one for each output channel;
        "channel": NAME.weight_scale, [outputs, 1]; "block": NAME.weight_scale_inv, one for each 128 by 128 weights.
    plain: modules that are not quantised: names, parts of names, or "re:" and a regular expression.
    """

    scales: Literal["load", "channel", "block"]
    plain: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        """Whether the matrix of module `name` is quantised."""
        return not any(matches(pattern, name) for pattern in self.plain)


def matches(pattern: str, name: str) -> bool:
    """Whether an entry of a list of unquantised modules means module `name`."""
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], name) is not None
        except re.error as error:
            raise CheckpointError(f"quantization_config: {pattern!r:.80} is no regular expression: {error}") from None
    return f".{pattern}." in f".{name}."


def quantization_of(fields: Fields) -> Quantization | None:
    """Of config.json; None where the weights are not quantised. Raises `UnsupportedModel` for what is not built."""
    section = fields.section("quantization_config")
    if section is None:
        return None
    method = section.string("quant_method")
    if method == "fp8":
        return block_wise(section)
    if method == "compressed-tensors":
        return compressed_tensors(section)
    if method == "fbgemm_fp8":
        return Quantization("channel", names(section, "modules_to_not_convert"))
    raise refused(section, "quant_method", method, "fp8, compressed-tensors and fbgemm_fp8 are")


def block_wise(section: Fields) -> Quantization:
    """DeepSeek's and Qwen's: blocks of 128 by 128, activations scaled as they come."""
    block = section.values.get("weight_block_size")
    if block != [BLOCK, BLOCK]:
        raise refused(section, "weight_block_size", block, f"[{BLOCK}, {BLOCK}] is")
    expect(section, "fmt", "e4m3")
    expect(section, "activation_scheme", "dynamic")
    return Quantization("block", names(section, "modules_to_not_convert"))


def compressed_tensors(section: Fields) -> Quantization:
    """One group of all linear layers: a scale for each output channel, activations scaled token by token."""
    expect(section, "format", "float-quantized")
    if section.has("kv_cache_scheme"):
        raise refused(section, "kv_cache_scheme", "not null", "null is (--kv-cache-dtype fp8 needs no scales)")
    groups = section.section("config_groups")
    if groups is None or len(groups.values) != 1:
        raise UnsupportedModel(f"{section.source}: config_groups must hold one group: {ADVICE}")
    group = groups.section(next(iter(groups.values)))
    if group is None or group.values.get("targets") != ["Linear"]:
        raise UnsupportedModel(f'{groups.source}: only targets ["Linear"] is supported: {ADVICE}')
    for key, strategy, dynamic in (("weights", "channel", False), ("input_activations", "token", True)):
        part = group.section(key)
        if part is None:
            raise UnsupportedModel(f"{group.source}: {key} is missing: {ADVICE}")
        expect(part, "type", "float")
        expect(part, "strategy", strategy)
        if part.integer("num_bits") != 8:
            raise refused(part, "num_bits", part.values["num_bits"], "8 is")
        if part.flag("dynamic", False) is not dynamic or not part.flag("symmetric", True):
            raise refused(part, "dynamic or symmetric", part.values, f"dynamic {dynamic} and symmetric True are")
    return Quantization("channel", names(section, "ignore"))


def names(section: Fields, key: str) -> tuple[str, ...]:
    """A list of module names; () where absent or null."""
    value = section.values.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise section.error(key, f"must be a list of names, not {value!r:.60}")
    # Older and newer files of models that see name the language model's modules differently.
    return tuple(name if name.startswith("re:") else language_tensor(name) or name for name in value)


def expect(section: Fields, key: str, wanted: str) -> None:
    """Raises `UnsupportedModel` unless `key` is `wanted`; where it is absent, it is taken for that."""
    found = section.string(key, wanted)
    if found != wanted:
        raise refused(section, key, found, f"{wanted} is")


def refused(section: Fields, key: str, found: object, supported: str) -> UnsupportedModel:
    return UnsupportedModel(f"{section.source}: {key} {found!r:.60} is not supported, only {supported}: {ADVICE}")
