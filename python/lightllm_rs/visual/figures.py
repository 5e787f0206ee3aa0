"""What the threads of a visual server have to tell the metric server."""

from __future__ import annotations

import threading
from collections import deque

from lightllm_rs.process.telemetry import Telemetry

IMAGES, FAILURES = "lightllm_visual_images_total", "lightllm_visual_failures_total"
BATCH_IMAGES, BATCH_PIXELS = "lightllm_visual_batch_images", "lightllm_visual_batch_pixels"
SECONDS = "lightllm_visual_seconds"


class Figures:
    """Any thread adds; one thread passes on. Names of metrics are those of the catalogue.

    Attributes:
        progress: grows with each image that is decoded, refused or let go, each block of the tower, and each batch.
        under_way: images taken and neither.
    """

    def __init__(self) -> None:
        self.progress = 0
        self.under_way = 0
        self._lock = threading.Lock()
        self._counts: deque[tuple[str, float]] = deque()
        self._values: deque[tuple[str, float, tuple[str, ...]]] = deque()

    def taken(self, images: int) -> None:
        """So many images are to be decoded and encoded."""
        with self._lock:
            self.under_way += images

    def let_go(self, images: int) -> None:
        """So many of those were encoded or refused, or will not be."""
        with self._lock:
            self.under_way -= images

    def block(self) -> None:
        """A block of the tower has been computed; on a GPU it was queued there."""
        self.progress += 1

    def batch(self, images: int, pixels: int, seconds: float) -> None:
        """A batch was encoded, its features written and published, all in so many seconds."""
        self.progress += 1
        self._counts.append((IMAGES, images))
        self._values.append((BATCH_IMAGES, images, ()))
        self._values.append((BATCH_PIXELS, pixels, ()))
        self._values.append((SECONDS, seconds, ("encode",)))

    def decoded(self, seconds: float) -> None:
        """One image was decoded and resized."""
        with self._lock:  # by several threads
            self.progress += 1
        self._values.append((SECONDS, seconds, ("decode",)))

    def abandoned(self, images: int) -> None:
        """So many images were let go, since nobody waited for them any more."""
        self.progress += images

    def failed(self) -> None:
        """One image could not be encoded."""
        self.progress += 1
        self._counts.append((FAILURES, 1.0))

    def tell(self, telemetry: Telemetry) -> None:
        """Passes on what has come together."""
        while self._counts:
            telemetry.add(*self._counts.popleft())
        while self._values:
            telemetry.observe(*self._values.popleft())
