"""The fields of `ServeSettings` with their metadata, as flags, environment variables and docs read them."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import msgspec

from lightllm_rs.settings.errors import SettingsError
from lightllm_rs.settings.serve import ServeSettings

ENVIRONMENT_PREFIX = "LIGHTLLM_"

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


class Field(msgspec.Struct, frozen=True):
    """One setting.

    Attributes:
        kind: bool, int, float, str or tuple (of strings).
        flags: without dashes, the main one first.
        choices: allowed strings, if only some are.
        low, high: bounds of a number, both included.
        group: heading under which it stands.
    """

    name: str
    kind: type
    default: Any
    help: str
    flags: tuple[str, ...]
    choices: tuple[str, ...]
    low: float | None
    high: float | None
    group: str
    secret: bool

    @property
    def environment(self) -> str:
        """Name of its environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    def parse(self, text: str, where: str) -> Any:
        """The value that `text` stands for. Raises SettingsError; `where` names the flag or variable."""
        if self.kind is bool:
            if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            raise SettingsError(f"{where} must be true or false, and is {text!r}")
        if self.kind is tuple:
            return self.checked(tuple(part.strip() for part in text.split(",") if part.strip()), where)
        if self.kind in (int, float):
            try:
                return self.checked(self.kind(text), where)
            except ValueError as error:
                if isinstance(error, SettingsError):
                    raise
                raise SettingsError(f"{where} must be {self._noun()}, and is {text!r}") from None
        return self.checked(text, where)

    def checked(self, value: Any, where: str) -> Any:
        """`value` if it may stand in this field. Raises SettingsError."""
        if value is None and self.default is None:
            return None
        if self.kind is float and type(value) is int:
            value = float(value)
        if self.kind is tuple and isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = tuple(value)
        if type(value) is not self.kind:
            raise SettingsError(f"{where} must be {self._noun()}, and is {value!r}")
        if self.choices and value not in self.choices:
            raise SettingsError(f"{where} must be one of {', '.join(self.choices)}, and is {value!r}")
        if self.kind in (str, tuple) and not value:
            raise SettingsError(f"{where} is empty: give a value or leave it out")
        if isinstance(value, (int, float)):
            if not (self.low is None or value >= self.low):  # so written that NaN is refused
                raise SettingsError(f"{where} must be at least {self.low:.15g}, and is {value}")
            if not (self.high is None or value <= self.high):
                raise SettingsError(f"{where} must be at most {self.high:.15g}, and is {value}")
        return value

    def _noun(self) -> str:
        nouns = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list of texts"}
        return nouns[self.kind]


def _field(field: msgspec.structs.FieldInfo, group: str) -> Field:
    info = msgspec.inspect.type_info(field.type)
    assert isinstance(info, msgspec.inspect.Metadata), f"{field.name} needs metadata"
    assert info.extra_json_schema is not None
    extra = info.extra or {}
    kinds = info.type.types if isinstance(info.type, msgspec.inspect.UnionType) else (info.type,)
    inner = next(kind for kind in kinds if not isinstance(kind, msgspec.inspect.NoneType))
    choices: tuple[str, ...] = ()
    kind: type = str
    if isinstance(inner, msgspec.inspect.LiteralType):
        choices = get_args(get_args(field.type)[0])  # msgspec sorts its own copy
    else:
        kind = {
            msgspec.inspect.BoolType: bool,
            msgspec.inspect.IntType: int,
            msgspec.inspect.FloatType: float,
            msgspec.inspect.StrType: str,
            msgspec.inspect.VarTupleType: tuple,
        }[type(inner)]
    return Field(
        name=field.name,
        kind=kind,
        default=field.default,
        help=info.extra_json_schema["description"],
        flags=(extra.get("flag", field.name.replace("_", "-")), *extra["aliases"]),
        choices=choices,
        low=getattr(inner, "ge", None),
        high=getattr(inner, "le", None),
        group=extra.get("group", group),
        secret=extra.get("secret", False),
    )


@cache
def fields() -> tuple[Field, ...]:
    """All settings, in the order in which they are declared."""
    found: list[Field] = []
    for field in msgspec.structs.fields(ServeSettings):
        found.append(_field(field, found[-1].group if found else ""))
    return tuple(found)


def by_name() -> dict[str, Field]:
    """All settings by the names of their fields."""
    return {field.name: field for field in fields()}
