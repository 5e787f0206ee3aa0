"""Getting the device ready: dtype, threads, compiler, caches."""

from __future__ import annotations

import torch

from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.host import usable_cores
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.kernels.toolchain import missing_toolchain
from lightllm_rs.kernels.triton_cache import keep_triton_cache_private
from lightllm_rs.settings.dtype import dtype_name

FP8_CAPABILITY = (8, 9)
"""The first GPUs whose tensor cores take 8-bit floats."""


def choose_dtype(options: BackendOptions) -> torch.dtype:
    """`--dtype`."""
    dtype: torch.dtype = getattr(torch, dtype_name(options.dtype, options.device))
    return dtype


def choose_kv_dtype(options: BackendOptions) -> torch.dtype:
    """`--kv-cache-dtype`; auto is the dtype of the arithmetic."""
    return FP8 if options.kv_cache_dtype == "fp8" else choose_dtype(options)


def open_device(options: BackendOptions) -> torch.device:
    """The rank's device, ready for use. Raises BackendError."""
    torch.set_grad_enabled(False)
    if options.device == "cpu":
        # Once, before any work: torch starts its threads at the first operation.
        torch.set_num_threads(options.threads or max(1, usable_cores() // options.world))
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BackendError("no CUDA device can be used: pass --device cpu, or check the driver with nvidia-smi")
    if torch.cuda.device_count() < options.world:
        count = torch.cuda.device_count()
        raise BackendError(f"--tp {options.world} needs as many GPUs and {count} can be seen: pass a smaller --tp")
    trouble = missing_toolchain() or keep_triton_cache_private()
    if trouble is not None:
        raise BackendError(trouble)
    device = torch.device("cuda", options.rank)
    torch.cuda.set_device(device)
    for flag, value in (("--quantization", options.quantization), ("--kv-cache-dtype", options.kv_cache_dtype)):
        if value == "fp8" and torch.cuda.get_device_capability(device) < FP8_CAPABILITY:
            raise BackendError(f"{flag} fp8 needs a GPU that computes in FP8 (Ada, Hopper or newer): leave it out")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    return device
