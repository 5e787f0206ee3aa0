"""The models, one readable file each."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..checkpoint import Checkpoint, Quantization
from ..layers.parallel import TensorParallel
from .base import CausalLM
from .registry import MODELS, model_class

__all__ = ["MODELS", "CausalLM", "load_model", "model_class"]


def load_model(
    checkpoint: Checkpoint,
    *,
    dtype: torch.dtype,
    device: torch.device,
    tp: TensorParallel | None = None,
    seed: int = 0,
    context: int | None = None,
    quantize: bool = False,
) -> CausalLM:
    """The model of `checkpoint`, its weights loaded (or made up from `seed`, for a dummy checkpoint).

    context: longest sequence that will be asked for, where that is less than the model's own; tables of positions end
    there.
    quantize: round the layers' matrices to 8-bit floats while loading, unless they are already.

    Raises `CheckpointError`, in one line, whatever is wrong with the files.
    """
    config = checkpoint.config()
    if context is not None:
        config = replace(config, max_positions=min(context, config.max_positions))
    if config.quantization is None and quantize:
        config = replace(config, quantization=Quantization("load"))
    elif config.quantization is not None and checkpoint.dummy:
        config = replace(config, quantization=replace(config.quantization, scales="load"))
    model = model_class(config.language).from_config(config, dtype, device, tp or TensorParallel())
    model.load(checkpoint.tensors(model.shapes(), dtype=dtype, device=device, seed=seed), torch.device(device))
    return model
