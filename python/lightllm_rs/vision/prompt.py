"""A tokenised prompt with one placeholder a picture -> the prompt that the router sees, and where its pictures are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import PromptError
from .geometry import Geometry, Grid, ImageShape
from .synthetic import synthetic_ids


@dataclass(frozen=True)
class ImageInput:
    """A picture of a prompt: its key in the cache and its shape."""

    key: bytes
    shape: ImageShape


@dataclass(frozen=True)
class Span:
    """Tokens start .. start + tokens of a prompt stand for the picture `key`."""

    start: int
    tokens: int
    key: bytes
    grid: Grid


@dataclass(frozen=True)
class Expanded:
    """position_offset: rotary position of the token after the prompt, less the prompt's length; 0 or negative."""

    ids: list[int]
    spans: list[Span]
    position_offset: int


def expand(ids: Sequence[int], images: Sequence[ImageInput], geometry: Geometry) -> Expanded:
    """The placeholders of `ids`, in order, become the tokens of `images`.

    Raises `PromptError` if there are not as many of the one as of the other.
    """
    placeholders = ids.count(geometry.placeholder)
    if placeholders != len(images):
        raise PromptError(
            f"the prompt has {placeholders} places for images, but {len(images)} images were given: "
            "there must be one place for each image"
        )
    expanded: list[int] = []
    spans: list[Span] = []
    offset = 0
    following = iter(images)
    for token in ids:
        if token != geometry.placeholder:
            expanded.append(token)
            continue
        image = next(following)
        shape = image.shape
        expanded.extend(geometry.before)
        spans.append(Span(len(expanded), shape.tokens, image.key, _grid(shape)))
        expanded.extend(synthetic_ids(image.key, shape.tokens))
        expanded.extend(geometry.after)
        offset += geometry.advance(shape.grid, shape.tokens) - shape.tokens
    return Expanded(expanded, spans, offset)


def _grid(shape: ImageShape) -> Grid:
    """Never empty: of a thin picture LLaVA-NeXT may keep the small square of all of it alone, and no row of a tile."""
    return shape.grid if min(shape.grid) > 0 else (1, 1, shape.tokens)
