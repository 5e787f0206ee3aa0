"""What a turn of a conversation says: text, or parts of text and images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, WithJsonSchema

from lightllm_rs.media import Detail

DETAILS: tuple[Detail, ...] = get_args(Detail)


@dataclass(frozen=True)
class TextPart:
    """Some text between images."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """An image. `url` may be of any kind, and is as it came."""

    url: str
    detail: Detail


Part = TextPart | ImagePart


def _content(value: Any) -> str | list[Part] | None:
    """Text, or a list of parts; if all of them are text they become one text."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError("must be a string or a list of parts")
    parts = [_part(number, part) for number, part in enumerate(value)]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    return "\n".join(texts) if len(texts) == len(parts) else parts


def _part(number: int, part: Any) -> Part:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise ValueError(f"part {number} must be an object with a type")
    if part["type"] == "image_url":
        return _image(number, part.get("image_url"))
    if part["type"] not in ("text", "input_text"):
        raise ValueError(
            f"part {number} is of type {part['type'][:40]!r}, and this server takes only 'text' and 'image_url'"
        )
    if not isinstance(part.get("text"), str):
        raise ValueError(f"part {number} must have a text")
    return TextPart(part["text"])


def _image(number: int, value: Any) -> ImagePart:
    image = {"url": value} if isinstance(value, str) else value
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise ValueError(f"part {number} must have an image_url with a url")
    detail = image.get("detail")
    for known in DETAILS:
        if detail in (known, None):  # without one it is the first, auto
            return ImagePart(image["url"], known)
    raise ValueError(f"part {number}: detail must be one of {', '.join(DETAILS)}")


_TEXT = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
}
_URL = {"type": "string", "description": "http(s)://, data: with base64, or file:// where the server allows it."}
_IMAGE_URL = {
    "type": "object",
    "properties": {"url": _URL, "detail": {"enum": [*DETAILS, None]}},
    "required": ["url"],
}
_IMAGE = {
    "type": "object",
    "properties": {"type": {"const": "image_url"}, "image_url": {"anyOf": [_IMAGE_URL, _URL]}},
    "required": ["type", "image_url"],
}

Content = Annotated[
    Any,
    AfterValidator(_content),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"anyOf": [_TEXT, _IMAGE]}}, {"type": "null"}]}
    ),
]
