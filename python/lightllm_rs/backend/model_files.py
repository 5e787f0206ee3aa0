"""The model's config, with its errors turned into the backend's."""

from __future__ import annotations

from pathlib import Path

from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.checkpoint import Checkpoint, CheckpointError, ModelConfig


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
