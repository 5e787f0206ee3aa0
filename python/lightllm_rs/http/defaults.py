"""What the model says about itself: sampling defaults and the tokens that end a text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Defaults:
    """Values for what a request does not say.

    Attributes:
        end_ids: tokens that end a text.
    """

    end_ids: tuple[int, ...]
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition: float = 1.0


def defaults_of(generation_config: Mapping[str, Any], end_ids: tuple[int, ...]) -> Defaults:
    """The defaults of generation_config.json. Values that make no sense are left out: the file is data."""

    def number(name: str, neutral: float, low: float, high: float) -> float:
        value = generation_config.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return neutral
        return float(value) if low <= value <= high else neutral

    if generation_config.get("do_sample") is False and "temperature" not in generation_config:
        temperature = 0.0  # the model's authors want greedy text
    else:
        temperature = number("temperature", 1.0, 0.0, 2.0)
    return Defaults(
        end_ids=end_ids,
        temperature=temperature,
        top_p=number("top_p", 1.0, 1e-6, 1.0),
        top_k=int(number("top_k", 0, 0, 2**31 - 1)),
        min_p=number("min_p", 0.0, 0.0, 1.0),
        repetition=number("repetition_penalty", 1.0, 0.01, 10.0),
    )
