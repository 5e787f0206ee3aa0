"""From flags to prompts."""

from __future__ import annotations

import argparse
from pathlib import Path

from lightllm_rs.bench.datasets import RandomLengths, custom_prompts, random_prompts, sharegpt_prompts
from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.outcome import Prompt
from lightllm_rs.checkpoint import CheckpointError, locate
from lightllm_rs.checkpoint.demo import DEMO_NAME
from lightllm_rs.tokenizer import TextTokenizer, TokenizerError, load_tokenizer

CUSTOM_OUTPUT = 256


def load_named_tokenizer(name: str) -> TextTokenizer:
    """The tokenizer of a folder, a tokenizer.json, a GGUF file, a hub id or the demo model. Raises BenchError."""
    try:
        if Path(name).is_file() or (Path(name) / "tokenizer.json").is_file():
            return load_tokenizer(Path(name))
        return load_tokenizer(locate(None if name == DEMO_NAME else name).path)
    except (CheckpointError, TokenizerError) as error:
        raise BenchError(f"prompts need the model's tokenizer: {error}; pass --tokenizer FOLDER") from None


def prompts_of(parsed: argparse.Namespace, tokenizer: TextTokenizer, count: int, seed: int) -> list[Prompt]:
    """`count` prompts of the dataset that the flags name. Raises BenchError."""
    if parsed.dataset_name == "random":
        lengths = RandomLengths(
            parsed.random_input_len, parsed.random_output_len, parsed.random_range_ratio, parsed.random_prefix_len
        )
        return random_prompts(tokenizer, count, lengths, seed)
    if parsed.dataset_path is None:
        raise BenchError(f"--dataset-name {parsed.dataset_name} needs a file: give --dataset-path FILE")
    path = Path(parsed.dataset_path)
    if parsed.dataset_name == "sharegpt":
        return sharegpt_prompts(path, tokenizer, count, parsed.sharegpt_output_len, seed)
    return custom_prompts(path, tokenizer, count, parsed.custom_output_len or CUSTOM_OUTPUT)
