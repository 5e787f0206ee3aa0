"""lightllm-rs: an LLM server with a Rust control plane. Importing this package imports neither torch nor triton."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightllm_rs.scheduling import *  # noqa: F403

try:
    __version__ = version("lightllm-rs")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]


def __getattr__(name: str) -> object:
    """What `lightllm_rs.scheduling` has, and the packages below: loaded when they are asked for first."""
    if name == "simulate":
        return import_module("lightllm_rs.simulate")
    if not name.startswith("_"):
        scheduling = import_module("lightllm_rs.scheduling")
        if name in scheduling.__all__:
            return getattr(scheduling, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
