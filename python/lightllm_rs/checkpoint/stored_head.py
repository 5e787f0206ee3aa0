"""Whether a model that sees ties its head to the embedding, where its config.json says both.

The config's root and its text_config may differ on tie_word_embeddings: which of them counted changed with
transformers 5, so that published files have either. What the weight files hold decides, as it does there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .config import ModelConfig
from .errors import CheckpointError
from .fields import Fields
from .hf_config import read_json
from .safetensors_files import INDEX, weight_files
from .vision_families import VISION_FAMILIES


def with_stored_head(config: ModelConfig, folder: Path) -> ModelConfig:
    """`config` of the model in `folder`, its tie_embeddings as the weights have it. Without weights it stays."""
    if config.vision is None or config.tie_embeddings:
        return config
    path = folder / "config.json"
    ties = VISION_FAMILIES[config.architecture].ties
    if not Fields(read_json(path), str(path)).flag("tie_word_embeddings", ties):
        return config
    try:
        stored = any(name.endswith("lm_head.weight") for name in stored_names(folder))
    except CheckpointError:
        return config  # of dummy weights, or it is said when the weights are read
    return replace(config, tie_embeddings=not stored)


def stored_names(folder: Path) -> Iterator[str]:
    """Names of the tensors in the files of `folder`. Raises `CheckpointError` where there are none."""
    files = weight_files(folder)
    if (folder / INDEX).exists():
        yield from read_json(folder / INDEX)["weight_map"]
        return
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            with safe_open(file, framework="numpy") as reader:
                yield from reader.keys()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is truncated or not a valid safetensors file ({error}): download it again"
            ) from None
