"""The model's files, with errors turned into the backend's, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.checkpoint import Checkpoint, CheckpointError, ModelConfig

if TYPE_CHECKING:
    import torch


def open_checkpoint(options: BackendOptions) -> Checkpoint:
    """The checkpoint that the supervisor located."""
    path = Path(options.model_path)
    return Checkpoint(path, path.name, dummy=options.load_format == "dummy")


def read_config(options: BackendOptions) -> ModelConfig:
    """The shape of the model. Raises BackendError."""
    try:
        return open_checkpoint(options).config()
    except CheckpointError as error:
        raise BackendError(str(error)) from None


def weights_name(config: ModelConfig, dtype: torch.dtype) -> str:
    """What was loaded, for the log."""
    rounded = "" if config.quantization is None else ", matrices in FP8"
    return f"{config.architecture} in {str(dtype).removeprefix('torch.')}{rounded}"
