"""The settings as a page of the docs."""

from __future__ import annotations

from typing import Any

from lightllm_rs.settings.fields import Field, fields

_INTRODUCTION = """\
# Settings

<!-- Made by `python -m lightllm_rs.settings > docs/settings.md`; a test compares. -->

Every setting of `lightllm-rs serve` is a flag, an environment variable and a key of the `--config` file (JSON, or TOML
on Python 3.11 and newer). Flags win over environment variables, these over the file. In flags and keys `-` and `_` are
the same. The file's own name can stand in `LIGHTLLM_CONFIG`. Keys of the API belong into the environment: flags can be
read by every user of the machine.
"""


def markdown() -> str:
    """The page docs/settings.md."""
    lines = [_INTRODUCTION.rstrip()]
    group = ""
    for field in fields():
        if field.group != group:
            group = field.group
            lines += [
                "",
                f"## {group}",
                "",
                "| flag | variable | values | default | meaning |",
                "|---|---|---|---|---|",
            ]
        flags = ", ".join(f"`--{flag}`" for flag in field.flags)
        lines.append(
            f"| {flags} | `{field.environment}` | {_values(field)} | {_default(field.default)} | {field.help} |"
        )
    return "\n".join(lines) + "\n"


def _values(field: Field) -> str:
    if field.choices:
        return ", ".join(f"`{choice}`" for choice in field.choices)
    if field.kind is bool:
        return f"flag; `--no-{field.flags[0]}`"
    if field.low is not None and field.high is not None:
        return f"{field.low:.10g} to {field.high:.10g}" if field.high < 2**31 - 1 else f"{field.low:.10g} or more"
    return "list" if field.kind is tuple else "text"


def _default(value: Any) -> str:
    if value is None or value == ():
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
