"""Settings from a JSON or TOML file."""

from __future__ import annotations

import difflib
import importlib
import json
from pathlib import Path
from typing import Any

from lightllm_rs.settings.errors import SettingsError
from lightllm_rs.settings.fields import Field, fields


def from_file(path: Path) -> dict[str, Any]:
    """The settings in `path`, by field name. Raises SettingsError.

    Keys are names or flags of settings, with `-` or `_`.
    """
    names: dict[str, Field] = {}
    for field in fields():
        for flag in (field.name, *field.flags):
            names[flag.replace("-", "_")] = field
    values: dict[str, Any] = {}
    for key, value in _table(path).items():
        found = names.get(key.replace("-", "_"))
        if found is None:
            near = difflib.get_close_matches(key.replace("-", "_"), names, n=1)
            hint = f"did you mean {near[0]}?" if near else "take it out"
            raise SettingsError(f"{path}: {key!r} names no setting: {hint}")
        if found.name in values:
            raise SettingsError(f"{path}: {found.name} is set twice, the second time as {key!r}: keep one")
        values[found.name] = found.checked(value, f"{path}: {key}")
    return values


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"the config file {path} cannot be read: {reason}") from None
    try:
        if path.suffix == ".json":
            table = json.loads(text)
        elif path.suffix == ".toml":
            table = _toml(path, text)
        else:
            raise SettingsError(f"the config file {path} must end in .json or .toml")
    except (ValueError, RecursionError) as error:  # both parsers' errors are ValueErrors
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"the config file {path} does not parse: {error}") from None
    if not isinstance(table, dict):
        raise SettingsError(f"the config file {path} must hold one object with settings by name")
    return table


def _toml(path: Path, text: str) -> Any:
    try:
        tomllib = importlib.import_module("tomllib")
    except ModuleNotFoundError:
        raise SettingsError(f"{path}: TOML needs Python 3.11 or newer: write the same settings as JSON") from None
    return tomllib.loads(text)
