"""Field types whose values need more than a type: checked by hand, so that the message names the fault."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

MAX_ID = 2**31 - 1
MAX_STOP_LETTERS = 1000


class Body(BaseModel):
    """Base of all bodies: exact types, finite numbers; unknown fields are kept aside so that they can be counted.

    Attributes:
        UNSUPPORTED: known fields that have an effect elsewhere and none here yet, with the values that are neutral.
        IGNORED: known fields that have no effect on the answer.
    """

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {}
    IGNORED: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, regex_engine="rust-regex")


def is_ids(value: Any) -> bool:
    """Whether `value` is a list of integers (booleans are none)."""
    return isinstance(value, list) and all(type(item) is int for item in value)


def ids_in_range(ids: list[int]) -> list[int]:
    """Refuses ids that no vocabulary has."""
    if ids and (min(ids) < 0 or max(ids) > MAX_ID):
        raise ValueError(f"token ids must be from 0 to {MAX_ID}")
    return ids


def _prompt(value: Any) -> list[str | list[int]]:
    """One or several prompts -> a list of prompts."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ValueError("must be a string, a list of strings, a list of token ids or a list of such lists")
    if not value:
        raise ValueError("must not be empty")
    if is_ids(value):
        return [ids_in_range(value)]
    for item in value:
        if isinstance(item, str):
            continue
        if not is_ids(item):
            raise ValueError("must be a string, a list of strings, a list of token ids or a list of such lists")
        ids_in_range(item)
    if len({type(item) for item in value}) > 1:
        raise ValueError("must not mix strings and lists of token ids")
    return value


def _stop(value: Any) -> list[str]:
    if value is None:
        return []
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(item, str) for item in strings):
        raise ValueError("must be a string or a list of strings")
    if any(not item for item in strings):
        raise ValueError("must not contain empty strings")
    if any(len(item) > MAX_STOP_LETTERS for item in strings):
        raise ValueError(f"strings must have at most {MAX_STOP_LETTERS} characters")
    return strings


def _logit_bias(value: Any) -> dict[int, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("must be an object with token ids as keys")
    biases: dict[int, float] = {}
    for key, bias in value.items():
        if not (isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 10 and int(key) <= MAX_ID):
            raise ValueError(f"keys must be token ids, not {str(key)[:40]!r}")
        if type(bias) not in (int, float) or not -100 <= bias <= 100:
            raise ValueError("values must be numbers from -100 to 100")
        biases[int(key)] = float(bias)
    return biases


def _token_ids(value: Any) -> list[int]:
    if value is None:
        return []
    if not is_ids(value):
        raise ValueError("must be a list of token ids")
    return ids_in_range(value)


def _required_ids(value: Any) -> list[int]:
    if value is None:
        raise ValueError("must be a list of token ids")
    return _token_ids(value)


_ID = {"type": "integer", "minimum": 0, "maximum": MAX_ID}
_IDS = {"type": "array", "items": _ID}
_TEXT = {"type": "string", "minLength": 1}
_STOP_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_LETTERS}

Prompt = Annotated[
    Any,
    AfterValidator(_prompt),
    WithJsonSchema(
        {
            "anyOf": [
                _TEXT,
                {"type": "array", "items": _TEXT, "minItems": 1},
                {**_IDS, "minItems": 1},
                {"type": "array", "items": {**_IDS, "minItems": 1}, "minItems": 1},
            ]
        }
    ),
]
Stop = Annotated[
    Any,
    AfterValidator(_stop),
    WithJsonSchema({"anyOf": [_STOP_TEXT, {"type": "array", "items": _STOP_TEXT}, {"type": "null"}]}),
]
LogitBias = Annotated[
    Any,
    AfterValidator(_logit_bias),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "propertyNames": {"pattern": "^[0-9]{1,9}$"},
                    "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
                },
                {"type": "null"},
            ]
        }
    ),
]
TokenIds = Annotated[Any, AfterValidator(_token_ids), WithJsonSchema({"anyOf": [_IDS, {"type": "null"}]})]
RequiredTokenIds = Annotated[Any, AfterValidator(_required_ids), WithJsonSchema(_IDS)]

Seed = Annotated[int, Field(ge=-(2**63), le=2**64 - 1)]
