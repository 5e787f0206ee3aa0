"""What can be wrong with a picture that a request brings. The texts go to callers: they say nothing of this host."""

from __future__ import annotations


class MediaError(Exception):
    """A picture that cannot be taken: the caller's fault.

    Attributes:
        message: what is wrong, without the name of the part.
        code: short name for programs.
        param: the part of the request that holds the picture, where it is known.
    """

    def __init__(self, message: str, code: str = "invalid_image", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


class Overloaded(Exception):
    """Too many pictures are being taken in at once: try again."""


def too_many_bytes(limit: int) -> MediaError:
    """One picture is longer than one may be."""
    return MediaError(f"the image is larger than {limit} bytes", "image_too_large")
