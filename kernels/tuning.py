"""Tiles that were measured on a kind of GPU, shipped as JSON: nothing is searched at the start."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parent / "tuned"


@lru_cache(maxsize=1024)
def tuned(device: torch.device, kernel: str, *key: int | str) -> dict[str, Any] | None:
    """What was measured to be best for a kernel on this GPU, or None.

    A file of the folder holds {"gpus": [beginnings of names], kernel: {"key,key": {...}}}.
    """
    if device.type != "cuda":
        return None
    found: dict[str, Any] | None = table(torch.cuda.get_device_name(device)).get(kernel, {}).get(join(key))
    return found


@lru_cache(maxsize=8)
def table(gpu: str) -> dict[str, Any]:
    """The file of a GPU by its name; empty if there is none."""
    for path in sorted(FOLDER.glob("*.json")):
        content: dict[str, Any] = json.loads(path.read_text())
        if gpu.startswith(tuple(content["gpus"])):
            return content
    return {}


def join(key: tuple[int | str, ...]) -> str:
    """A key as it stands in a file."""
    return ",".join(str(part) for part in key)
