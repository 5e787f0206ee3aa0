"""lightllm-rs: an LLM server with a Rust control plane. Importing this package imports neither torch nor triton."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lightllm-rs")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
