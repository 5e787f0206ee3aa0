"""From what the user calls MODEL to files on the local disk."""

from __future__ import annotations

import re
from pathlib import Path

from .checkpoint import Checkpoint, LoadFormat
from .demo import DEMO_NAME, demo_model
from .errors import CheckpointError
from .hub import download

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(model: str | None = None, revision: str | None = None, load_format: LoadFormat = "auto") -> Checkpoint:
    """The checkpoint of `model`: a folder, a .gguf file, a hub id (fetched at `revision`), or None for the demo model.

    Raises `CheckpointError` if it cannot be found or downloaded, or is not of `load_format`.
    """
    if model is None:
        return of_format(demo_model(), DEMO_NAME, load_format)
    path = Path(model).expanduser()
    if path.exists():
        return of_format(path, path.resolve().name.removesuffix(".gguf"), load_format)
    if HUB_ID.fullmatch(model) and not model.endswith(".gguf"):
        return of_format(download(model, revision), model, load_format)
    raise CheckpointError(f"{model} does not exist: MODEL is a model folder, a .gguf file or a hub id like owner/name")


def of_format(path: Path, name: str, load_format: LoadFormat) -> Checkpoint:
    """The checkpoint at `path`, which exists. A folder that holds one GGUF file and no safetensors is that file."""
    if path.is_dir() and load_format in ("auto", "gguf"):
        gguf_files = sorted(path.glob("*.gguf"))
        if gguf_files and (load_format == "gguf" or not any(path.glob("*.safetensors"))):
            if len(gguf_files) > 1:
                names = ", ".join(file.name for file in gguf_files[:8])
                raise CheckpointError(f"{path} holds several GGUF files: name one of {names}")
            path = gguf_files[0]
    if path.is_file() and path.suffix != ".gguf":
        raise CheckpointError(f"{path} is neither a model folder nor a .gguf file")
    is_gguf = path.suffix == ".gguf"
    if (load_format == "gguf" and not is_gguf) or (load_format == "safetensors" and is_gguf):
        raise CheckpointError(f"{path} does not hold the format that --load-format {load_format} asks for")
    if not is_gguf and not (path / "config.json").exists():
        raise CheckpointError(f"{path} has no config.json: it is not a Hugging Face model folder")
    return Checkpoint(path, name, dummy=load_format == "dummy")
