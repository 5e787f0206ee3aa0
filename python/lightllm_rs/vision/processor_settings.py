"""The settings of a folder's image processor, as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint.fields import Fields
from ..checkpoint.hf_config import read_json


def processor_settings(folder: Path) -> Fields:
    """preprocessor_config.json, or that part of processor_config.json (transformers 5 may write it there); empty where
    the folder has neither. Raises `CheckpointError` for a file that is not valid."""
    alone, joint = folder / "preprocessor_config.json", folder / "processor_config.json"
    if alone.exists():
        return Fields(read_json(alone), str(alone))
    nested = Fields(read_json(joint), str(joint)).section("image_processor") if joint.exists() else None
    return nested or Fields({}, str(alone))


def switch(fields: Fields, key: str, default: bool) -> bool:
    """Whether a step is done; null is no, as transformers reads it, and not the default of a key that is missing."""
    return fields.flag(key, default and key not in fields.values)


def three_numbers(fields: Fields, key: str, default: tuple[float, float, float]) -> list[float]:
    """A number for each of the three colours."""
    values: Any = fields.values.get(key)
    if values is None:
        return list(default)
    if not isinstance(values, list) or len(values) != 3:
        raise fields.error(key, f"must be a list of three numbers, not {values!r:.60}")
    of_colour = Fields(dict(zip(("red", "green", "blue"), values, strict=True)), f"{fields.source}: {key}")
    return [of_colour.number(colour, low=-1e3, high=1e3) for colour in ("red", "green", "blue")]
