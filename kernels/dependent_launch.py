"""Programmatic dependent launch (CUDA, compute capability 9.0 and newer): a kernel starts before the last one ends.

A kernel launched so says `start_next` as soon as its successor may take free multiprocessors, and `wait_previous`
before it reads or writes anything that another kernel writes or reads. What nothing writes (weights) may be loaded
before. Every kernel launched so must wait: the end of one then implies the end of all before it.
"""

# Triton compiles the kernels from their source and types them itself.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def start_next(PDL: tl.constexpr):
    """Let the next kernel start where there is room."""
    if PDL:
        tl.inline_asm_elementwise(
            "griddepcontrol.launch_dependents; // $0", "=r", [], dtype=tl.int32, is_pure=False, pack=1
        )


@triton.jit
def wait_previous(PDL: tl.constexpr):
    """Wait until the kernel before has ended and its writes are visible."""
    if PDL:
        tl.inline_asm_elementwise("griddepcontrol.wait; // $0", "=r", [], dtype=tl.int32, is_pure=False, pack=1)


def dependent_launch(x: Tensor) -> dict[str, bool]:
    """Launch arguments of a kernel that has a PDL parameter: on, where the device of x can."""
    if x.is_cuda and _capable(x.device.index):
        return {"PDL": True, "launch_pdl": True}
    return {"PDL": False}


@functools.cache
def _capable(index: int) -> bool:
    return torch.cuda.get_device_capability(index) >= (9, 0)
