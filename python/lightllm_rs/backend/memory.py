"""Memory of the device: how much there is, and which errors mean that it ran out."""

from __future__ import annotations

import torch

from lightllm_rs.backend.host import available_memory


def device_memory(device: torch.device) -> tuple[int, int]:
    """(free, total) bytes. On a CPU both are what can be allocated now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)
    free = available_memory()
    return free, free


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on whichever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "DefaultCPUAllocator" in str(error)  # a plain RuntimeError on a CPU
