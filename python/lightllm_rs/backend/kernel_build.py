"""Triton kernels compiled many at a time.

One after the other they take most of a cold start: Triton compiles at a kernel's first launch, and has a C compiler
build a launcher. Both let other threads run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from lightllm_rs.backend.host import usable_cores


@contextmanager
def kernels_built_together(device: torch.device) -> Iterator[None]:
    """Within it Triton kernels are asked for and not launched: their outputs are never written. At its end all those
    that were asked for can be launched at once. Raises what the compiler raises."""
    from triton.runtime._async_compile import AsyncCompileMode
    from triton.runtime.jit import JITFunction

    launch = JITFunction.run

    def ask(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        return launch(kernel, *args, grid=grid, warmup=True, **kwargs)

    def set_device() -> None:
        torch.cuda.set_device(device)

    with ThreadPoolExecutor(usable_cores(), initializer=set_device) as pool:
        mode = AsyncCompileMode(pool)
        with mode:
            JITFunction.run = ask
            try:
                yield
            finally:
                JITFunction.run = launch
        built = [asked.result() for asked in mode.future_kernels.values()]
        list(pool.map(load, built))


def load(kernel: Any) -> None:
    """Brings a compiled kernel onto the device, and builds its launcher."""
    _ = kernel.run
