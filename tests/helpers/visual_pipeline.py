"""A pipeline of a visual server over images in memory, and towers that fail or wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from helpers.memory_cache import MemoryCache, MemoryLease
from lightllm_rs.media import decode, inspect
from lightllm_rs.messages.recipe import Recipe
from lightllm_rs.models.vision import Pixels, VisionTower
from lightllm_rs.visual.encoder import Encoder
from lightllm_rs.visual.figures import Figures
from lightllm_rs.visual.pipeline import Bounds, Pipeline

SECONDS = 60.0


@contextmanager
def pipeline(
    tower: Any,
    cache: MemoryCache,
    bounds: Bounds | None = None,
    errors: list[BaseException] | None = None,
    at_a_time: int = 1 << 20,
) -> Iterator[Figures]:
    figures = Figures()
    broken = errors if errors is not None else []
    with ThreadPoolExecutor(4) as threads:
        running = Pipeline(
            cache,  # type: ignore[arg-type]
            Encoder(tower, 1_000_000, at_a_time),
            threads,
            bounds or Bounds(8, 1 << 20, 1 << 20),
            figures,
            broken.append,
        )
        try:
            yield figures
        finally:
            running.close()
    assert cache.closed
    if errors is None:
        assert broken == []


def put(
    cache: MemoryCache, tower: VisionTower, data: bytes, stored: bytes | None = None, **changes: Any
) -> MemoryLease:
    picture = inspect(data)
    shape = tower.geometry.shape(picture.width, picture.height)
    recipe = Recipe("auto", picture.width, picture.height, picture.original_pixels)
    wanted = {"feature_len": shape.tokens * tower.width * 4, "recipe": recipe, "pixels": shape.pixels} | changes
    return cache.put(data if stored is None else stored, **wanted)


def features_of(tower: VisionTower, data: bytes) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        (features,) = tower.encode([tower.pixels(decode(data))])
    return features.numpy()


def wait(leases: Sequence[MemoryLease]) -> None:
    for lease in leases:
        assert lease.ended.wait(SECONDS), "an image was not answered"


class FailingTower:
    """A tower whose larger batches run out of memory, and which cannot take some pictures at all."""

    def __init__(self, tower: VisionTower, error: type[RuntimeError]) -> None:
        self._tower, self._error = tower, error
        self.dtype, self.device, self.geometry, self.width = tower.dtype, tower.device, tower.geometry, tower.width

    def pixels(self, picture: Any) -> Pixels:
        return self._tower.pixels(picture)

    def encode(self, inputs: Sequence[Pixels]) -> list[torch.Tensor]:
        if len(inputs) > 1 or inputs[0].shape.tokens > 4:
            raise self._error("no")
        return self._tower.encode(inputs)


class GatedTower(FailingTower):
    """A tower that waits to be let through."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__(tower, RuntimeError)
        self.gate, self.inside = threading.Semaphore(0), threading.Semaphore(0)
        self.prepared = threading.Semaphore(0)

    def pixels(self, picture: Any) -> Pixels:
        found = self._tower.pixels(picture)
        self.prepared.release()
        return found

    def encode(self, inputs: Sequence[Pixels]) -> list[torch.Tensor]:
        self.inside.release()
        assert self.gate.acquire(timeout=SECONDS)
        return self._tower.encode(inputs)
