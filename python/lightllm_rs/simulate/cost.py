"""Cost models: what `--cost` says, as the simulator's JSON."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from lightllm_rs.simulate import words
from lightllm_rs.simulate.errors import InputError, input_error

Json = dict[str, Any]

GPUS: dict[str, Json] = {
    # One H100 80GB HBM3: copies at 3.0 TB/s and a bf16 product at 794 TFLOP/s, measured; a decode step of one stream
    # takes 1.4 ms more than reading the weights (README, Figures).
    "h100": {"bandwidth_gbs": 3000.0, "tflops": 794.0, "overhead_ms": 1.4},
}
"""What is known of GPUs, for the roofline."""


def cost_model(text: str) -> Json:
    """The model that `FILE`, `constant:TIME` or `roofline:CONFIG.json[:GPU]` means. Raises InputError."""
    kind, colon, rest = text.partition(":")
    if kind == "constant" and colon:
        try:
            return {"version": 1, "kind": "constant", "ms": words.milliseconds(rest)}
        except ArgumentTypeError as error:
            raise input_error(f"--cost: {error}", parameter="cost") from None
    if kind == "roofline" and colon:
        path, colon, gpu = rest.partition(":")
        return {"version": 1, "kind": "roofline", "model": read_json(Path(path)), "gpu": _gpu(gpu if colon else "h100")}
    return read_json(Path(text))


def cost_file(text: str) -> Path | None:
    """The file that such a model is in; None if there is none."""
    kind, colon, rest = text.partition(":")
    if kind == "constant" and colon:
        return None
    return Path(rest.partition(":")[0] if kind == "roofline" and colon else text)


def read_json(path: Path) -> Json:
    """A JSON object. Raises InputError that names file and line."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise input_error(f"{path}: {error.strerror}", path=path) from None
    except UnicodeDecodeError as error:
        raise input_error(f"{path}: not a text file: {error.reason}", path=path) from None
    except json.JSONDecodeError as error:
        raise input_error(f"{path}:{error.lineno}: not JSON: {error.msg}", path=path, line=error.lineno) from None
    except RecursionError:
        raise input_error(f"{path}: nested too deeply", path=path) from None
    if not isinstance(found, dict):
        raise input_error(f"{path}:1: must be a JSON object", path=path, line=1)
    return found


def _gpu(text: str) -> Json:
    if text in GPUS:
        return GPUS[text]
    found: Json = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            known = ", ".join(GPUS)
            message = f"--cost: {text!r} is no GPU: write {known}, or bandwidth_gbs=3000,tflops=800,overhead_ms=1"
            raise input_error(message, parameter="cost") from None
    return found


__all__ = ["GPUS", "InputError", "cost_file", "cost_model", "read_json"]
