"""Reads a rank's part of the model onto its device, with errors turned into the backend's."""

from __future__ import annotations

import torch

from lightllm_rs.backend.distributed import open_peers
from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.memory import is_out_of_memory
from lightllm_rs.backend.model_files import open_checkpoint
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.checkpoint import CheckpointError
from lightllm_rs.layers.parallel import TensorParallel
from lightllm_rs.models import CausalLM, load_model


def read_model(
    options: BackendOptions, dtype: torch.dtype, device: torch.device, tp: TensorParallel
) -> tuple[CausalLM, TensorParallel]:
    """The model, and its ranks with the memory that they share for rows as long as its own. Raises BackendError."""
    checkpoint = open_checkpoint(options)
    try:
        config = checkpoint.config()
        context = config.context(options.context or None)  # refused before minutes of loading
        tp = open_peers(tp, config.hidden, dtype, device)
        model = load_model(
            checkpoint,
            dtype=dtype,
            device=device,
            tp=tp,
            seed=options.seed,
            context=context,
            quantize=options.quantization == "fp8",
        )
    except CheckpointError as error:
        raise BackendError(str(error)) from None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = "GPU's memory: raise --tp" if device.type == "cuda" else "memory: choose a smaller --dtype"
        raise BackendError(f"the weights do not fit the {where} or use a smaller model") from None
    return model, tp
