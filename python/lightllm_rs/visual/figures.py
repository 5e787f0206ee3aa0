"""What the threads of a visual server have to tell the metric server."""

from __future__ import annotations

from collections import deque

from lightllm_rs.process.telemetry import Telemetry

IMAGES, FAILURES = "lightllm_visual_images_total", "lightllm_visual_failures_total"
BATCH_IMAGES, BATCH_PIXELS = "lightllm_visual_batch_images", "lightllm_visual_batch_pixels"
SECONDS = "lightllm_visual_seconds"


class Figures:
    """Any thread adds; one thread passes on. Names of metrics are those of the catalogue.

    Attributes:
        encoded: images since the start.
    """

    def __init__(self) -> None:
        self.encoded = 0
        self._counts: deque[tuple[str, float]] = deque()
        self._values: deque[tuple[str, float, tuple[str, ...]]] = deque()

    def batch(self, images: int, pixels: int, seconds: float) -> None:
        """A batch was encoded, its features written and published, all in so many seconds."""
        self.encoded += images
        self._counts.append((IMAGES, images))
        self._values.append((BATCH_IMAGES, images, ()))
        self._values.append((BATCH_PIXELS, pixels, ()))
        self._values.append((SECONDS, seconds, ("encode",)))

    def decoded(self, seconds: float) -> None:
        """One image was decoded and resized."""
        self._values.append((SECONDS, seconds, ("decode",)))

    def failed(self) -> None:
        """One image could not be encoded."""
        self._counts.append((FAILURES, 1.0))

    def tell(self, telemetry: Telemetry) -> None:
        """Passes on what has come together."""
        while self._counts:
            telemetry.add(*self._counts.popleft())
        while self._values:
            telemetry.observe(*self._values.popleft())
