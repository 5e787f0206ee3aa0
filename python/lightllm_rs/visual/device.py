"""The device of a visual server, and the arithmetic on it."""

from __future__ import annotations

import os

import torch

from lightllm_rs.kernels.toolchain import missing_toolchain
from lightllm_rs.kernels.triton_cache import keep_triton_cache_private
from lightllm_rs.process.child import StartError
from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings.dtype import dtype_name


def choose_dtype(start: ChildStart) -> torch.dtype:
    """`--dtype`, which the language model has too."""
    dtype: torch.dtype = getattr(torch, dtype_name(start.settings.dtype, start.device))
    return dtype


def open_device(start: ChildStart) -> torch.device:
    """The device, ready for use. Raises StartError."""
    torch.set_grad_enabled(False)
    if start.device == "cpu":
        # Half of the cores: the backend's threads are on all of them, and text must not stand still.
        cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(start.settings.threads or max(1, cores // 2))
        return torch.device("cpu")
    if not torch.cuda.is_available() or torch.cuda.device_count() <= start.gpu:
        raise StartError(f"GPU {start.gpu} cannot be used: lower --visual-gpu, or check the driver with nvidia-smi")
    trouble = missing_toolchain() or keep_triton_cache_private()
    if trouble is not None:
        raise StartError(trouble)
    device = torch.device("cuda", start.gpu)
    torch.cuda.set_device(device)
    return device


def device_bytes(device: torch.device) -> int:
    """Device memory that this process has taken, and keeps."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0
