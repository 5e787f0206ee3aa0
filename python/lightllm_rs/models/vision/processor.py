"""transformers' image processors, those of Pillow and NumPy, which need no torchvision."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from ...checkpoint import CheckpointError

# image_processor_type of a geometry's settings, without "Fast" at its end -> (module of transformers.models, class).
PROCESSORS: dict[str, tuple[str, str]] = {
    "CLIPImageProcessor": ("clip.image_processing_pil_clip", "CLIPImageProcessorPil"),
    "GotOcr2ImageProcessor": ("got_ocr2.image_processing_pil_got_ocr2", "GotOcr2ImageProcessorPil"),
    "LlavaImageProcessor": ("llava.image_processing_pil_llava", "LlavaImageProcessorPil"),
    "LlavaNextImageProcessor": ("llava_next.image_processing_pil_llava_next", "LlavaNextImageProcessorPil"),
    "Qwen2VLImageProcessor": ("qwen2_vl.image_processing_pil_qwen2_vl", "Qwen2VLImageProcessorPil"),
    "SiglipImageProcessor": ("siglip.image_processing_pil_siglip", "SiglipImageProcessorPil"),
}

Array = np.ndarray[Any, np.dtype[Any]]


class ImageProcessor:
    """Of a geometry's settings, but for what `Normalise` does.

    Its code is imported by `load`, or for the first picture: with transformers come more than a thousand modules, which
    take seconds, and weights need none of them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._module, self._name = PROCESSORS[settings["image_processor_type"]]
        own = {key: value for key, value in settings.items() if key != "image_processor_type"}
        self._settings = own | {"do_rescale": False, "do_normalize": False}

    @cached_property
    def _processor(self) -> Any:
        try:
            made = getattr(import_module(f"transformers.models.{self._module}"), self._name)
        except (ImportError, AttributeError):
            raise CheckpointError(
                "images need the Python package transformers, version 5 or later: pip install 'lightllm-rs[images]'"
            ) from None
        return made(**self._settings)

    def load(self) -> None:
        """Imports the code. Raises `CheckpointError` where transformers is not installed or too old."""
        _ = self._processor

    def __call__(self, picture: object) -> dict[str, Array]:
        """What the processor makes of one picture: bytes, in whichever dtype. Raises as `load` does."""
        return dict(self._processor(images=[picture], return_tensors="np"))


def as_bytes(values: Array) -> Array:
    """The same numbers as contiguous uint8. Others would be cut down to bytes: transformers does more than we ask."""
    made = np.ascontiguousarray(values, dtype=np.uint8)
    assert (made == values).all(), f"pixels of {values.dtype} are no bytes, though nothing was rescaled or normalised"
    return made
