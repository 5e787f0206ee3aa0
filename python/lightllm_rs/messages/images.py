"""Where images stand in a prompt: the same struct from HTTP to the router and from there to the ranks."""

from __future__ import annotations

import msgspec

FIRST_SYNTHETIC = 0x8000_0000
"""Token ids from here on stand for positions of images: a half of 32 bits that no vocabulary reaches."""

MAX_SPANS = 1024
"""Most images of one request."""


class ImageSpan(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Consecutive positions of a prompt that stand for one image.

    Attributes:
        start, tokens: the positions start .. start + tokens.
        key: 16 bytes; the image's name in the image cache.
        grid: frames, rows and columns, for models whose positions have three axes.
        ready: its features are in the image cache. In `Attach`: and rows of this attach read them.
    """

    start: int
    tokens: int
    key: bytes
    grid: tuple[int, int, int]
    ready: bool = False


IMAGE_GONE = "the features of an image of this request are gone: please send it again"
"""Error of a row whose features could not be had. Nothing is wrong with its request."""

IMAGE_DEADLY = "visual servers died 3 times while they encoded this image"
"""The cache manager's word on an image that is not tried again."""
