"""Which errors of a step leave the backend sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lightllm_rs.backend.errors import StepError
from lightllm_rs.backend.memory import is_out_of_memory

OUT_OF_MEMORY = "the backend ran out of memory in this step; try again with a shorter prompt or fewer requests at once"

NOT_COMPILED = "a kernel that this step needs does not compile for this device; please report it. The compiler says: "


@contextmanager
def step_errors() -> Iterator[None]:
    """Turns running out of memory and kernels that do not compile into StepError.

    Everything else is left to end the process: after a kernel's error nothing on the device can be trusted.
    """
    try:
        yield
    except Exception as error:
        if does_not_compile(error):
            raise StepError(not_compiled(error)) from error
        if not is_out_of_memory(error):
            raise
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        raise StepError(OUT_OF_MEMORY) from None


def does_not_compile(error: Exception) -> bool:
    """Whether it is Triton's, which may not even be installed; it is raised before the kernel is launched."""
    return any(base.__name__ == "TritonError" for base in type(error).__mro__)


def not_compiled(error: Exception) -> str:
    """One line for people."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return NOT_COMPILED + lines[-1].strip()[:200]
