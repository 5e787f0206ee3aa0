"""Memory of the device: how much there is, and what running out of it means for a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lightllm_rs.backend.errors import StepError
from lightllm_rs.backend.host import available_memory

OUT_OF_MEMORY = "the backend ran out of memory in this step; try again with a shorter prompt or fewer requests at once"


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


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns running out of memory into StepError. Everything else is left to end the process: after a kernel's error
    nothing on the device can be trusted."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        raise StepError(OUT_OF_MEMORY) from None
