"""What a field of the settings says of itself."""

from __future__ import annotations

from typing import Any

import msgspec


def meta(help: str, *aliases: str, low: float | None = None, high: float | None = None, **extra: Any) -> msgspec.Meta:
    """Metadata of a field. `aliases` are further flags, without their dashes.

    Keys of `extra`: `flag` (first flag, where it is not the field's name), `group` (heading in the help and the docs),
    `secret` (never shown).
    """
    return msgspec.Meta(description=help, ge=low, le=high, extra={"aliases": aliases, **extra})
