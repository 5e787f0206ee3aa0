"""Tensors of a GGUF file under their Hugging Face names, dequantised to float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from .config import ModelConfig
from .errors import CheckpointError, UnsupportedModel
from .families import family_of
from .gguf_file import GgufFile, GgufTensor

if TYPE_CHECKING:
    import torch

OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
IGNORED = {"rope_freqs.weight"}  # read with the config


def hf_name(name: str) -> str:
    """The Hugging Face name of a GGUF tensor; an unknown name is kept, and the model's loader will refuse it."""
    stem, _, kind = name.rpartition(".")
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    block, _, rest = stem.removeprefix("blk.").partition(".")
    if stem.startswith("blk.") and rest in INNER:
        return f"model.layers.{block}.{INNER[rest]}.{kind}"
    return name


def dequantised(file: GgufFile, tensor: GgufTensor) -> np.ndarray:
    """float32 values of `tensor`, of `tensor.shape`. Raises `CheckpointError` if the file ends before they do."""
    try:
        kind = GGMLQuantizationType(tensor.kind)
    except ValueError:
        raise UnsupportedModel(f"{file.path}: {tensor.name} has the unknown GGML type {tensor.kind}") from None
    block, block_bytes = GGML_QUANT_SIZES[kind]
    columns, rows = tensor.shape[-1], int(np.prod(tensor.shape[:-1], dtype=object))
    if columns % block:
        raise CheckpointError(
            f"{file.path}: {tensor.name} has rows of {columns}, not a multiple of {kind.name}'s {block}"
        )
    row_bytes = columns // block * block_bytes
    if tensor.offset + rows * row_bytes > file.path.stat().st_size:
        raise CheckpointError(f"{file.path} is truncated: {tensor.name} lies past its end: download it again")
    raw = np.memmap(file.path, np.uint8, "r", tensor.offset, (rows, row_bytes))
    try:
        values = dequantize(raw, kind)
    except NotImplementedError:
        raise UnsupportedModel(f"{file.path}: {tensor.name} is {kind.name}, which cannot be dequantised") from None
    floats: np.ndarray = np.ascontiguousarray(values, dtype=np.float32).reshape(tensor.shape)
    return floats


def unpermuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """Back from llama.cpp's order, where the two halves of a rotary pair are neighbours, to Hugging Face's halves."""
    half = rows.shape[0] // heads // 2
    pairs = rows.reshape(heads, half, 2, *rows.shape[1:])
    halves: np.ndarray = pairs.swapaxes(1, 2).reshape(rows.shape)
    return halves


def gguf_tensors(file: GgufFile, config: ModelConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """(Hugging Face name, float32 CPU tensor) of each tensor."""
    import torch

    permuted = family_of(config.language).permuted
    for tensor in file.tensors.values():
        if tensor.name in IGNORED:
            continue
        values = dequantised(file, tensor)
        stem = tensor.name.rpartition(".")[0]
        if permuted and stem.endswith((".attn_q", ".attn_k")):
            heads = config.heads if stem.endswith("_q") else config.kv_heads
            if values.shape[0] != heads * config.head_dim:
                raise CheckpointError(
                    f"{file.path}: {tensor.name} has {values.shape[0]} rows, not one a head dimension"
                )
            values = unpermuted(values, heads)
        # Unquantised tensors are views of the mapped file, which torch may not write to: those are copied.
        yield hf_name(tensor.name), torch.from_numpy(np.require(values, requirements=["C", "W"]))
