"""The GPU's context, made while torch is imported: both take a good part of a second, and neither needs the other."""

from __future__ import annotations

import ctypes
import threading


def open_context_early(device: int) -> None:
    """Starts a thread that makes the primary context of a GPU, which torch takes over later.

    Nothing is said where it fails: torch meets the same trouble, and has words for it.
    """
    threading.Thread(target=_open, args=(device,), name="context", daemon=True).start()


def _open(device: int) -> None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    context = ctypes.c_void_p()
    if driver.cuInit(0) == 0:
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
