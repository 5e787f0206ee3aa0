"""Command-line flags of `lightllm-rs serve`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from lightllm_rs.settings.errors import SettingsError
from lightllm_rs.settings.fields import Field, fields

UNSET = object()
"""Stands for a flag that was not given."""


class FlagParser(argparse.ArgumentParser):
    """Raises SettingsError in place of printing the usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        raise SettingsError(f"{message} (see {self.prog} --help)")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the positional MODEL, `--config`, and a flag for each setting with all of its names."""
    parser.add_argument("positional_model", nargs="?", metavar="MODEL", default=UNSET, help=_named("model").help)
    parser.add_argument("--config", metavar="FILE", default=UNSET, help="JSON or TOML file with settings")
    groups: dict[str, Any] = {}
    for field in fields():
        group = groups.get(field.group) or groups.setdefault(field.group, parser.add_argument_group(field.group))
        names = [f"--{flag}" for flag in field.flags]
        if field.kind is bool:
            group.add_argument(
                *names, dest=field.name, default=UNSET, action=argparse.BooleanOptionalAction, help=_help(field)
            )
        else:
            group.add_argument(*names, dest=field.name, default=UNSET, metavar=_metavar(field), help=_help(field))


def normalised(arguments: Sequence[str]) -> list[str]:
    """The arguments with `_` as `-` in the names of flags; what stands after a lone `--` is left as it is."""
    found: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            return found + list(arguments[position:])
        name, equals, value = argument.partition("=")
        found.append(name.replace("_", "-") + equals + value if name.startswith("--") else argument)
    return found


def given(parsed: argparse.Namespace) -> dict[str, Any]:
    """The settings that the flags set, by field name. Raises SettingsError."""
    values: dict[str, Any] = {}
    for field in fields():
        value = getattr(parsed, field.name)
        if value is not UNSET:
            values[field.name] = value if field.kind is bool else field.parse(value, f"--{field.flags[0]}")
    if parsed.positional_model is not UNSET:
        if values.get("model", parsed.positional_model) != parsed.positional_model:
            raise SettingsError(
                f"the model is given twice, as {parsed.positional_model!r} and as --model {values['model']!r}: give one"
            )
        values["model"] = _named("model").checked(parsed.positional_model, "MODEL")
    return values


def _named(name: str) -> Field:
    return next(field for field in fields() if field.name == name)


def _metavar(field: Field) -> str:
    if field.choices:
        return "{" + ",".join(field.choices) + "}"
    return {int: "N", float: "X", tuple: "A,B"}.get(field.kind, "TEXT")


def _help(field: Field) -> str:
    shown = f"{field.help} [{field.environment}"
    if field.default not in (None, (), False):
        shown += f", default {field.default}"
    return (shown + "]").replace("%", "%%")
