"""The largest batches, encoded once at the start: what memory they take is kept, and kernels are ready."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from lightllm_rs.models.vision import VisionTower
from lightllm_rs.process.child import StartError
from lightllm_rs.vision import Geometry, PictureError
from lightllm_rs.visual.pipeline import Bounds

ASPECTS = sorted({wide / high for wide in range(1, 13) for high in range(1, 13)})
"""Width over height: models that cut pictures into tiles take some forms in more tiles than others."""


def sizes(max_pixels: int) -> Iterator[tuple[int, int]]:
    """Widths and heights of pictures of about so many pixels, and of smaller ones."""
    pixels = max_pixels
    while pixels >= 1 << 10:
        for aspect in ASPECTS:
            width = max(1, math.isqrt(int(pixels * aspect)))
            yield width, max(1, pixels // width)
        pixels //= 4


def worst_sizes(geometry: Geometry, max_pixels: int, bounds: Bounds) -> list[tuple[tuple[int, int], int]]:
    """(width and height, how many at once) of the batches that take most memory: one picture as large as may be, and
    as many as the bounds allow of a size between."""
    shapes = {}
    for size in sizes(max_pixels):
        try:
            shapes[size] = geometry.shape(*size).pixels
        except PictureError:
            continue
    if not shapes:
        raise StartError("no picture fits both the model and --max-image-pixels: raise it")
    largest = max(shapes, key=lambda size: shapes[size])
    full = {size: min(bounds.images, bounds.pixels // pixels) for size, pixels in shapes.items()}
    many = max(shapes, key=lambda size: full[size] * shapes[size])
    return [(largest, 1)] + ([(many, full[many])] if full[many] > 1 else [])


@torch.inference_mode()
def warm(tower: VisionTower, max_pixels: int, bounds: Bounds) -> str:
    """Encodes the worst batches; one line on what they were. Raises StartError."""
    told = []
    for (width, height), count in worst_sizes(tower.geometry, max_pixels, bounds):
        pixels = tower.blank(tower.geometry.shape(width, height))
        try:
            tower.encode([pixels] * count)
        except torch.OutOfMemoryError:
            raise StartError(
                f"{count} images of {pixels.shape.pixels} pixels do not fit the GPU's memory: "
                "lower --visual-batch-pixels or --max-image-pixels, or give --visual-gpu another one"
            ) from None
        told.append(f"{count} x {pixels.shape.pixels} pixels")
    if tower.device.type == "cuda":
        torch.cuda.synchronize(tower.device)
    return ", ".join(told)
