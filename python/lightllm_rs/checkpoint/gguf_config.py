"""Metadata of a GGUF file -> `ModelConfig`."""

from __future__ import annotations

from .config import ModelConfig, merge_ids
from .errors import CheckpointError, UnsupportedModel
from .families import architecture_of_gguf, family_of
from .fields import Fields
from .gguf_file import GgufFile

END_KEYS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
ROPE_FACTORS = "rope_freqs.weight"


def config_of_gguf(file: GgufFile) -> ModelConfig:
    """Raises `CheckpointError` for metadata that is not valid, `UnsupportedModel` for a model that is not built."""
    fields = Fields(file.metadata, str(file.path))
    name = fields.string("general.architecture")
    architecture = architecture_of_gguf(name)
    family = family_of(architecture)
    if fields.has(f"{name}.expert_count") and fields.integer(f"{name}.expert_count", low=0) > 0:
        raise UnsupportedModel(f"{file.path}: mixture of experts is not supported")
    if (kind := fields.string(f"{name}.rope.scaling.type", "none")) != "none":
        raise UnsupportedModel(f"{file.path}: RoPE scaling {kind!r:.40} is not supported")
    hidden = fields.integer(f"{name}.embedding_length")
    heads = fields.integer(f"{name}.attention.head_count", high=4096)
    head_dim = fields.integer(f"{name}.attention.key_length", hidden // heads or 1, high=4096)
    if fields.integer(f"{name}.attention.value_length", head_dim, high=4096) != head_dim:
        raise UnsupportedModel(f"{file.path}: keys and values of different sizes are not supported")
    if fields.integer(f"{name}.rope.dimension_count", head_dim, high=4096) != head_dim:
        raise UnsupportedModel(f"{file.path}: rotary embeddings of a part of the head are not supported")
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise CheckpointError(f"{file.path} has no token embedding: it is not a complete model")
    bos = fields.token_ids("tokenizer.ggml.bos_token_id")
    window = f"{name}.attention.sliding_window"
    return ModelConfig(
        architecture=architecture,
        language=architecture,
        layers=fields.integer(f"{name}.block_count", high=1024),
        hidden=hidden,
        heads=heads,
        kv_heads=fields.integer(f"{name}.attention.head_count_kv", heads, high=4096),
        head_dim=head_dim,
        intermediate=fields.integer(f"{name}.feed_forward_length"),
        vocab=embedding.shape[0],
        max_positions=fields.integer(f"{name}.context_length", high=1 << 27),
        rms_eps=fields.number(f"{name}.attention.layer_norm_rms_epsilon", low=0.0, high=1.0),
        rope_theta=fields.number(f"{name}.rope.freq_base", 10000.0, low=1.0, high=1e12),
        rope_factors=rope_factors(file),
        tie_embeddings="output.weight" not in file.tensors,
        qkv_bias="blk.0.attn_q.bias" in file.tensors,
        o_bias="blk.0.attn_output.bias" in file.tensors,
        mlp_bias="blk.0.ffn_gate.bias" in file.tensors,
        qk_norm=family.qk_norm,
        bos_id=bos[0] if bos else None,
        end_ids=merge_ids(*(fields.token_ids(key) for key in END_KEYS)),
        sliding_window=fields.integer(window, low=0, high=1 << 27) or None if fields.has(window) else None,
    )


def rope_factors(file: GgufFile) -> tuple[float, ...] | None:
    """llama.cpp stores Llama 3.1's RoPE scaling as one divisor a frequency, in a tensor of its own."""
    if ROPE_FACTORS not in file.tensors:
        return None
    from .gguf_tensors import dequantised  # numpy work that only this tensor needs here

    return tuple(float(value) for value in dequantised(file, file.tensors[ROPE_FACTORS]))
