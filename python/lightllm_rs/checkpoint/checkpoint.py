"""`Checkpoint`: a model on the local disk, and what can be read from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .config import ModelConfig
from .gguf_config import config_of_gguf
from .gguf_file import GgufFile, read_gguf
from .hf_config import config_of_folder, generation_config
from .stored_head import with_stored_head
from .tensor_names import language_tensor, vision_tensor

if TYPE_CHECKING:
    import torch

LoadFormat = Literal["auto", "safetensors", "gguf", "dummy"]


@dataclass(frozen=True)
class Checkpoint:
    """`path`: a Hugging Face folder or a GGUF file. `name`: what users call the model. `dummy`: make random weights.

    Every method may raise `CheckpointError` (see errors.py).
    """

    path: Path
    name: str
    dummy: bool = False

    @property
    def is_gguf(self) -> bool:
        return self.path.suffix == ".gguf"

    @cached_property
    def gguf(self) -> GgufFile:
        """Metadata and tensor table of a GGUF checkpoint, read once."""
        assert self.is_gguf, "only GGUF checkpoints have GGUF metadata"
        return read_gguf(self.path)

    @cached_property
    def model_config(self) -> ModelConfig:
        return config_of_gguf(self.gguf) if self.is_gguf else with_stored_head(config_of_folder(self.path), self.path)

    def config(self) -> ModelConfig:
        """The model's shape and arithmetic; read once."""
        return self.model_config

    def generation_config(self) -> dict[str, Any]:
        """generation_config.json as it is, {} where there is none (GGUF has none)."""
        return {} if self.is_gguf else generation_config(self.path)

    def tensors(
        self, shapes: Mapping[str, tuple[int, ...]], *, dtype: torch.dtype, device: torch.device, seed: int = 0
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """(Hugging Face name, tensor) of each weight, in no particular order, dtype or device of its own; of a model
        that sees those of the language model alone, with the names that they have in a model of text.

        Only dummy weights look at `shapes` (those that the model wants), `dtype`, `device` and `seed`.
        """
        if self.dummy:
            from .dummy import dummy_tensors

            return dummy_tensors(shapes, dtype=dtype, device=device, seed=seed)
        if self.is_gguf:
            from .gguf_tensors import gguf_tensors

            return gguf_tensors(self.gguf, self.model_config)
        from .safetensors_files import safetensors_tensors

        seeing = self.model_config.vision is not None
        return safetensors_tensors(self.path, language_tensor) if seeing else safetensors_tensors(self.path)

    def vision_tensors(
        self, shapes: Mapping[str, tuple[int, ...]], *, dtype: torch.dtype, device: torch.device, seed: int = 0
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """As `tensors`, but those of the part that sees; see `tensor_names.vision_tensor` for their names."""
        if self.dummy:
            from .dummy import dummy_tensors

            return dummy_tensors(shapes, dtype=dtype, device=device, seed=seed)
        from .safetensors_files import safetensors_tensors

        return safetensors_tensors(self.path, vision_tensor)
