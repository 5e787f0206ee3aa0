"""Where a rank gets the features of pictures from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ImageError:
    """Why the features of a picture cannot be had; the message is for the callers whose requests need them."""

    message: str


class ImageFeatures(ABC):
    """The features that a vision tower made. Asked for in the first step that computes tokens of a picture, once for
    all of that step."""

    @abstractmethod
    def fetch(self, keys: Sequence[bytes], tokens: Sequence[int], width: int) -> list[Tensor | ImageError]:
        """For each of the pictures `keys`, all different, its features [tokens, width], in the model's dtype on the
        model's device, ready for work that is queued after this. Where they cannot be had (any more), the error: the
        requests that need them fail, and no other."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Nothing more will be asked for."""


class NoFeatures(ImageFeatures):
    """There are none: nobody has said yet where to get them."""

    def fetch(self, keys: Sequence[bytes], tokens: Sequence[int], width: int) -> list[Tensor | ImageError]:
        return [ImageError("this backend was started without a cache of images")] * len(keys)
