"""Tiny Hugging Face folders with random weights, made in the tests: no network, no torch, a few hundred kilobytes.

`make_tiny_model(folder, "llama")` writes config.json, generation_config.json, model.safetensors, tokenizer.json and
tokenizer_config.json (with a ChatML template). Weights are float32 and come from the seed alone.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END_OF_TEXT, IM_START, IM_END = 0, 1, 2

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CORPUS = (
    "The quick brown fox jumps over the lazy dog.",
    "A server answers many people at once, one token at a time.",
    "Once upon a time there was a page pool, and no page was ever lost.",
    "Der Zug fährt um 12:45 Uhr; çà et là, naïve café, 日本語のテキスト, 🙂🙃",
    "def add(left: int, right: int) -> int:\n    return left + right\n",
)

LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@cache
def tiny_tokenizer(vocab_size: int = 384) -> Tokenizer:
    """A byte-level BPE tokenizer of at most `vocab_size` tokens; ids 0..2 are the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def tiny_config(kind: str = "llama", **overrides: Any) -> dict[str, Any]:
    """A config.json of the family `kind`, small enough for a step to take about a millisecond."""
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 384,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": IM_START,
        "eos_token_id": IM_END,
        "torch_dtype": "float32",
    }
    if kind == "mistral":
        config["sliding_window"] = None
    if kind in ("qwen2", "qwen3"):
        config["use_sliding_window"] = False
        config["attention_bias"] = False
    if kind == "qwen2":
        del config["head_dim"]  # Qwen2 has none: hidden / heads
    config.update(overrides)
    return config


def tiny_tensors(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 weights with the names and shapes of a Hugging Face checkpoint of `config`."""
    random = np.random.default_rng(seed)
    kind = config["model_type"]
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or hidden // heads

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def vector(size: int, centre: float = 0.0) -> np.ndarray:
        return (centre + 0.2 * random.standard_normal(size)).astype(np.float32)

    tensors = {"model.embed_tokens.weight": random.standard_normal((vocab, hidden)).astype(np.float32)}
    qkv_bias = kind == "qwen2" or bool(config.get("attention_bias"))
    for layer in range(config["num_hidden_layers"]):
        attention, mlp = f"model.layers.{layer}.self_attn", f"model.layers.{layer}.mlp"
        for name, rows in (("q_proj", heads), ("k_proj", kv_heads), ("v_proj", kv_heads)):
            tensors[f"{attention}.{name}.weight"] = matrix(rows * head_dim, hidden)
            if qkv_bias:
                tensors[f"{attention}.{name}.bias"] = vector(rows * head_dim)
        tensors[f"{attention}.o_proj.weight"] = matrix(hidden, heads * head_dim)
        if config.get("attention_bias"):
            tensors[f"{attention}.o_proj.bias"] = vector(hidden)
        if kind == "qwen3":
            tensors[f"{attention}.q_norm.weight"] = vector(head_dim, 1.0)
            tensors[f"{attention}.k_norm.weight"] = vector(head_dim, 1.0)
        for name, (rows, columns) in {
            "gate_proj": (inner, hidden),
            "up_proj": (inner, hidden),
            "down_proj": (hidden, inner),
        }.items():
            tensors[f"{mlp}.{name}.weight"] = matrix(rows, columns)
            if config.get("mlp_bias"):
                tensors[f"{mlp}.{name}.bias"] = vector(rows)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{name}.weight"] = vector(hidden, 1.0)
    tensors["model.norm.weight"] = vector(hidden, 1.0)
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(vocab, hidden)
    return tensors


def make_tiny_model(folder: Path, kind: str = "llama", *, seed: int = 0, shards: int = 1, **overrides: Any) -> Path:
    """Write a complete model folder and return it. `overrides` are config.json fields; `shards` splits the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(kind, **overrides)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"eos_token_id": [IM_END, END_OF_TEXT]})
    write_tokenizer(folder)
    write_weights(folder, tiny_tensors(config, seed), shards)
    return folder


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_tokenizer(folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json, which transformers reads too."""
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIAL_TOKENS[IM_START],
            "eos_token": SPECIAL_TOKENS[IM_END],
            "add_bos_token": False,
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
        },
    )


def write_weights(folder: Path, tensors: dict[str, np.ndarray], shards: int = 1) -> None:
    """One model.safetensors, or `shards` files and their index."""
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
