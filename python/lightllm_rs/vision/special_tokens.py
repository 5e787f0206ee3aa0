"""Ids of tokens that a folder's tokenizer names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint import CheckpointError
from ..checkpoint.hf_config import read_json


def special_token(folder: Path, role: str, default: str) -> int:
    """Id of the token that tokenizer_config.json calls `role`, such as "start_image_token", or else of `default`.

    Raises `CheckpointError` if tokenizer.json has no such added token.
    """
    config = folder / "tokenizer_config.json"
    named = read_json(config) if config.exists() else {}
    extra = named.get("extra_special_tokens")
    text = named.get(role) or (extra.get(role) if isinstance(extra, dict) else None) or default
    if isinstance(text, dict):
        text = text.get("content")
    added: Any = read_json(folder / "tokenizer.json").get("added_tokens")
    for entry in added if isinstance(added, list) else ():
        if isinstance(entry, dict) and entry.get("content") == text and isinstance(entry.get("id"), int):
            return int(entry["id"])
    raise CheckpointError(f"{folder / 'tokenizer.json'}: the {role} {text!r:.60} is not one of its added tokens")
