"""Values of flags: what is written, as what it means. Each raises ArgumentTypeError with what is allowed."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any, TypeVar

Json = dict[str, Any]
_T = TypeVar("_T")

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "": 1.0}


def number(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def count(text: str) -> int:
    """An integer from 1."""
    value = _integer(text)
    if value < 1:
        raise ArgumentTypeError(f"{text!r} must be at least 1")
    return value


def milliseconds(text: str) -> float:
    """A time: `500ms`, `2s`, `80us`; milliseconds without a unit."""
    found = re.fullmatch(r"([0-9.eE+-]+?)(us|ms|s|)", text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is no time: write 500ms, 2s or 80us")
    return number(found[1]) * _UNITS[found[2]]


def numbers(text: str) -> list[float]:
    """Numbers above 0, separated by commas."""
    return _each(text, number)


def integers(text: str) -> list[int]:
    """Integers, separated by commas."""
    return _each(text, _integer)


def seeds(text: str) -> list[int]:
    """Integers from 0 to 2**64 - 1, separated by commas."""
    values = _each(text, _integer)
    for value in values:
        if not 0 <= value < 1 << 64:
            raise ArgumentTypeError(f"{value} must be from 0 to 2**64 - 1")
    return values


def names(text: str) -> list[str]:
    """Names, separated by commas; `-` is `_`, as in Python."""
    return [name.replace("-", "_") for name in _each(text, str)]


def policies(text: str) -> list[Json]:
    """Policies, separated by commas: a name, and parameters after colons."""
    return _each(text, _policy)


def setting(text: str) -> tuple[str, list[Any]]:
    """A name and its values: `order.bypass_limit=0,64`."""
    name, equals, values = text.partition("=")
    if not (name and equals and values):
        raise ArgumentTypeError(f"{text!r} is no setting: write KEY=VALUE")
    return name.replace("-", "_"), _each(values, _value)


def lengths(text: str) -> Json:
    """A distribution of lengths in tokens."""
    match text.split(":"):
        case [tokens]:
            return {"kind": "constant", "tokens": count(tokens)}
        case ["uniform", low, high]:
            return {"kind": "uniform", "min": count(low), "max": count(high)}
        case ["lognormal", mean, sigma]:
            return {"kind": "log_normal", "mean": number(mean), "sigma": number(sigma)}
        case ["lognormal", mean, sigma, low, high]:
            bounds = {"min": count(low), "max": count(high)}
            return {"kind": "log_normal", "mean": number(mean), "sigma": number(sigma), **bounds}
    raise ArgumentTypeError(f"{text!r}: write 512, uniform:MIN:MAX or lognormal:MEAN:SIGMA[:MIN:MAX]")


def arrivals(text: str) -> Json:
    """A process of arrivals."""
    match text.split(":"):
        case ["trace" | "poisson" | "constant" as kind]:
            return {"kind": kind}
        case ["at-once" | "at_once"]:
            return {"kind": "at_once"}
        case ["gamma", shape]:
            return {"kind": "gamma", "shape": number(shape)}
        case ["closed", clients]:
            return {"kind": "closed", "clients": count(clients)}
        case ["closed", clients, think]:
            return {"kind": "closed", "clients": count(clients), "think_ms": milliseconds(think)}
    raise ArgumentTypeError(
        f"{text!r}: write trace, poisson, constant, at-once, gamma:SHAPE or closed:CLIENTS[:THINK_MS]"
    )


def shared_prefix(text: str) -> Json:
    """Tokens, and kinds of prefixes."""
    tokens, colon, groups = text.partition(":")
    return {"tokens": count(tokens), "groups": count(groups) if colon else 1}


def image(text: str) -> Json:
    """Tokens before an image, its own, and the time until it is ready."""
    match text.split(":"):
        case [after, tokens, delay]:
            return {
                "after": 0 if after == "0" else count(after),
                "tokens": count(tokens),
                "delay_ms": milliseconds(delay),
            }
    raise ArgumentTypeError(f"{text!r}: write AFTER:TOKENS:TIME")


def _policy(text: str) -> Json:
    name, *parameters = text.split(":")
    found: Json = {"name": name.replace("-", "_")}
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if not (key and equals):
            raise ArgumentTypeError(f"{text!r}: write NAME:KEY=VALUE for a parameter")
        found[key.replace("-", "_")] = _value(value)
    return found


def _value(text: str) -> Any:
    """A number, true or false, or else a name."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.replace("-", "_")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no integer") from None


def _each(text: str, read: Callable[[str], _T]) -> list[_T]:
    parts = text.split(",")
    if "" in parts:
        raise ArgumentTypeError(f"{text!r} has an empty part: write values separated by commas")
    return [read(part) for part in parts]
