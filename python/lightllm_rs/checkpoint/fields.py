"""Checked access to a mapping that came from a file: config.json is data, and every number in it is validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .errors import CheckpointError


class Fields:
    """A mapping read from `source` (a file name for the messages). Wrong types and ranges raise `CheckpointError`."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self.values = values
        self.source = source

    def error(self, key: str, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.source}: {key} {problem}")

    def has(self, key: str) -> bool:
        """Whether `key` is there and not null."""
        return self.values.get(key) is not None

    def integer(self, key: str, default: int | None = None, *, low: int = 1, high: int = 1 << 24) -> int:
        """An integer of [low, high]; without a `default` the key must be there."""
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise self.error(key, "is missing")
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be an integer, not {value!r:.60}")
        if not low <= value <= high:
            raise self.error(key, f"must be between {low} and {high}, not {value}")
        return value

    def number(self, key: str, default: float | None = None, *, low: float, high: float) -> float:
        """A finite number of [low, high]."""
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise self.error(key, "is missing")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"must be a number, not {value!r:.60}")
        if not math.isfinite(value) or not low <= value <= high:
            raise self.error(key, f"must be between {low:g} and {high:g}, not {value}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {value!r:.60}")
        return value

    def string(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise self.error(key, "is missing")
        if not isinstance(value, str):
            raise self.error(key, f"must be a string, not {value!r:.60}")
        return value

    def section(self, key: str) -> Fields | None:
        """A nested object, or None where it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.error(key, f"must be an object, not {value!r:.60}")
        return Fields(value, f"{self.source}: {key}")

    def token_ids(self, key: str) -> tuple[int, ...]:
        """A token id or a list of them; () where absent or null."""
        value = self.values.get(key)
        if value is None:
            return ()
        ids = value if isinstance(value, list) else [value]
        for token in ids:
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < 1 << 31:
                raise self.error(key, f"must be a token id or a list of them, not {value!r:.60}")
        return tuple(ids)
