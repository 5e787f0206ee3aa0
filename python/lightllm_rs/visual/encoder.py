"""From the bytes of images to features, on one device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from lightllm_rs.media import MediaError, decode
from lightllm_rs.messages.frames import BadFrame
from lightllm_rs.messages.recipe import Recipe, recipe_decoder
from lightllm_rs.vision import PictureError
from lightllm_rs.visual.decode_room import DecodeRoom

if TYPE_CHECKING:
    from lightllm_rs.cache import View
    from lightllm_rs.models.vision import Pixels, VisionTower

log = logging.getLogger(__name__)

NOT_PROCESSED = "the image cannot be processed"
TOO_LARGE = "the image does not fit the memory of the visual server: send a smaller one"


class EncodeError(Exception):
    """An image that has no features; the message is for the caller of the API."""


class Item(Protocol):
    """What a visual server needs of a lease (see `lightllm_rs.cache.Lease`)."""

    @property
    def recipe(self) -> bytes:
        """A `Recipe`, encoded."""
        ...

    @property
    def feature_len(self) -> int:
        """Bytes of the features."""
        ...

    @property
    def data(self) -> View:
        """The original bytes."""
        ...

    @property
    def features(self) -> View:
        """Where the features go."""
        ...


class Encoder:
    """Args:
    tower: loaded.
    max_pixels: most pixels of an original.
    at_a_time: pixels of the originals that are decoded at a time; a larger one is decoded alone.
    """

    def __init__(self, tower: VisionTower, max_pixels: int, at_a_time: int) -> None:
        self._tower, self._max_pixels = tower, max_pixels
        self._room = DecodeRoom(at_a_time)

    def enter_thread(self) -> None:
        """To be called first in a thread that encodes."""
        if self._tower.device.type == "cuda":
            torch.cuda.set_device(self._tower.device)

    def prepare(self, item: Item, is_wanted: Callable[[], bool]) -> Pixels | None:
        """Decodes and resizes, on the CPU, in any thread, when there is room. Raises EncodeError.

        Args:
            is_wanted: asked just before the image is decoded; None is the answer for an image that is not.
        """
        try:
            recipe = recipe_decoder.decode(item.recipe)
        except BadFrame as error:
            log.error("the recipe of an image does not decode: %s", error)
            raise EncodeError(NOT_PROCESSED) from None
        with self._room.of(recipe.original_pixels):
            return self._pixels(item, recipe) if is_wanted() else None

    def _pixels(self, item: Item, recipe: Recipe) -> Pixels:
        try:
            picture = decode(item.data.data, recipe.detail, self._max_pixels)
            if picture.size != (recipe.width, recipe.height):
                raise EncodeError(NOT_PROCESSED)  # its header said something else
            pixels = self._tower.pixels(picture)
        except (MediaError, PictureError) as error:
            raise EncodeError(str(error)) from None
        except (ValueError, TypeError, IndexError, ArithmeticError, OSError, MemoryError):
            log.exception("an image could not be made ready")  # of a library, about this image alone
            raise EncodeError(NOT_PROCESSED) from None
        if pixels.shape.tokens * self._row_bytes != item.feature_len:
            log.error("%d tokens were expected otherwise: %d bytes", pixels.shape.tokens, item.feature_len)
            raise EncodeError(NOT_PROCESSED)
        return pixels

    def encode(self, items: Sequence[Item], inputs: Sequence[Pixels]) -> list[EncodeError | None]:
        """Writes the features of some images; for each of them None, or why it has none. Raises what breaks a device.

        A batch that fails is done again image by image: one image shall not cost others theirs.
        """
        try:
            return self._encode(items, inputs)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            # What follows runs outside this block, which would keep the memory of the failed batch.
            self._check_device()
            small = isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
            log.warning("a batch of %d images failed: %s", len(items), str(error).partition("\n")[0])
        if self._tower.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(items) == 1:
            return [EncodeError(TOO_LARGE if small else NOT_PROCESSED)]
        return [self.encode([item], [pixels])[0] for item, pixels in zip(items, inputs, strict=True)]

    @torch.inference_mode()
    def _encode(self, items: Sequence[Item], inputs: Sequence[Pixels]) -> list[EncodeError | None]:
        found: list[EncodeError | None] = []
        rows = self._tower.encode(inputs)
        finite: list[bool] = torch.stack([features.isfinite().all() for features in rows]).tolist()  # waits once
        for item, features, good in zip(items, rows, finite, strict=True):
            if not good:
                found.append(EncodeError("the features of the image are not finite numbers"))
                continue
            # Straight into the arena, whichever device they come from.
            room = torch.frombuffer(item.features, dtype=self._tower.dtype)
            room.view(features.shape).copy_(features)
            found.append(None)
        return found

    @property
    def _row_bytes(self) -> int:
        return self._tower.width * self._tower.dtype.itemsize

    def _check_device(self) -> None:
        if self._tower.device.type == "cuda":
            torch.cuda.synchronize(self._tower.device)
