"""`VisionTower`: the base of all towers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...checkpoint import ModelConfig
from ...vision import Geometry, ImageShape
from ..loadable import Loadable
from .normalise import Normalise
from .processor import ImageProcessor

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Pixels:
    """A picture made ready for a tower: contiguous uint8 on the CPU, of a form that the tower knows."""

    values: Tensor
    shape: ImageShape


class VisionTower(Loadable):
    """Made in three steps: `from_config`, `load`, then any number of `pixels` and `encode`.

    Attributes:
        config: of the whole model.
        geometry: of the same model; sizes and settings.
        dtype, device: of weights and features.
        processor: what `pixels` does.
        normalise: what `encode` begins with.
    """

    def __init__(self, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.config, self.geometry, self.dtype, self.device = config, geometry, dtype, device
        self.processor = ImageProcessor(geometry.settings)
        self.normalise = Normalise(geometry.settings, dtype, device)

    @classmethod
    def from_config(
        cls, config: ModelConfig, geometry: Geometry, dtype: torch.dtype, device: torch.device
    ) -> VisionTower:
        """The tower with uninitialised weights. Raises `UnsupportedModel`."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Numbers of a row of features."""
        vision = self.config.vision
        assert vision is not None, "a model with a tower has a vision config"
        return vision.width(self.config.hidden)

    def pixels(self, picture: Image) -> Pixels:
        """An upright RGB picture, resized and made into what `encode` takes. On the CPU; thread safe.

        Raises `PictureError` where the geometry refuses the size.
        """
        raise NotImplementedError

    def blank(self, shape: ImageShape) -> Pixels:
        """A picture of this shape in one colour, without the work of resizing one."""
        raise NotImplementedError

    def encode(self, inputs: Sequence[Pixels]) -> list[Tensor]:
        """Features [tokens, width] of each picture, on the device; to be called under `torch.inference_mode`.

        They do not depend on what else is encoded along, beyond rounding.
        """
        raise NotImplementedError
