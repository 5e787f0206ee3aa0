"""Tensors of a Hugging Face folder: model.safetensors, or the shards that its index lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CheckpointError, UnsupportedModel
from .hf_config import read_json

if TYPE_CHECKING:
    import torch

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of `folder`. Raises `CheckpointError` if there are none or one of the index is missing."""
    if (folder / INDEX).exists():
        weight_map = read_json(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise CheckpointError(f"{folder / INDEX}: weight_map must map tensor names to file names")
        names = sorted(set(weight_map.values()))
        for name in names:
            if Path(name).name != name:
                raise CheckpointError(f"{folder / INDEX}: {name!r:.80} is not a plain file name")
    elif (folder / SINGLE).exists():
        names = [SINGLE]
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    files = [folder / name for name in names]
    if not files:
        raise CheckpointError(f"{folder} has no *.safetensors file (other weight formats are not read)")
    for file in files:
        if not file.exists():
            raise CheckpointError(f"{file} is missing, though the index lists it: download the model again")
    return files


def safetensors_tensors(
    folder: Path, named: Callable[[str], str | None] = lambda name: name
) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, CPU tensor in the file's dtype) of each tensor, file by file; the tensors are views of mapped files.

    named: what a tensor of the file is called here; None: it is not read.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    floats = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn)
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt", device="cpu") as reader:
                for key in reader.keys():  # noqa: SIM118 (a reader is no mapping)
                    name = named(key)
                    if name is None:
                        continue
                    tensor = reader.get_tensor(key)
                    if tensor.dtype not in floats:
                        raise UnsupportedModel(f"{file}: {name} is {tensor.dtype}: such weights are not supported")
                    yield name, tensor
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is truncated or not a valid safetensors file ({error}): download it again"
            ) from None
