"""Parts of messages with images."""

from __future__ import annotations

import base64
from typing import Any

from helpers.pictures import encoded, gradient, oriented
from lightllm_rs.http.schemas.chat import Message

PNG = encoded(gradient(20, 10))
EXIF = oriented(gradient(20, 10), 1, "PNG")
"""Its header is read in a thread."""
DATA = "data:image/png;base64," + base64.b64encode(PNG).decode()
EXIF_DATA = "data:image/png;base64," + base64.b64encode(EXIF).decode()


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def unseen(number: int) -> dict[str, Any]:
    """An image with other bytes for each number, whose header is read in a thread."""
    return image("data:image/png;base64," + base64.b64encode(EXIF + number.to_bytes(4, "big")).decode())


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def message(*parts: Any, role: str = "user") -> Message:
    return Message.model_validate({"role": role, "content": list(parts)})
