"""Takes images from one cache manager and encodes them: one batch is on the device while the next is decoded."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightllm_rs.cache import CacheGone, CacheTimeout, Lease
from lightllm_rs.visual.encoder import EncodeError, Encoder
from lightllm_rs.visual.figures import Figures

if TYPE_CHECKING:
    from lightllm_rs.cache import CacheClient
    from lightllm_rs.models.vision import Pixels
    from lightllm_rs.settings import ServeSettings

log = logging.getLogger(__name__)

BATCHES = 2
"""Taken and not yet published: one is encoded and one is decoded; more would be taken away from other servers."""

BATCH_PIXELS = {"cpu": 1 << 20, "cuda": 4 << 20}
"""Of a batch, where the settings leave it open: by device."""

LOOK_SECONDS = 0.5
"""A take that waits so long looks whether the end has come."""


@dataclass(frozen=True)
class Bounds:
    """Of one batch.

    Attributes:
        images: most of them.
        pixels: most pixels, as the tower sees them; the first image may have more.
        original_pixels: the same of the originals, which is what decoding goes by.
    """

    images: int
    pixels: int
    original_pixels: int

    @staticmethod
    def of(settings: ServeSettings, device: str) -> Bounds:
        """As the operator has set them."""
        return Bounds(
            settings.visual_batch_size,
            settings.visual_batch_pixels or BATCH_PIXELS[device],
            settings.visual_decode_pixels or settings.max_image_pixels,
        )


@dataclass(frozen=True)
class Batch:
    """Images that are being decoded; None for one that nobody waits for any more."""

    leases: list[Lease]
    inputs: list[Future[Pixels | None]]


class Pipeline:
    """Runs from its making until `close`, or until the cache manager is gone.

    Args:
        client: of one cache manager; closed with the pipeline.
        threads: that decode; shared by all pipelines.
        broken: called, in a thread of the pipeline, with an error that ends the process.
        over: called, in a thread of the pipeline, when nothing runs any more.
    """

    def __init__(
        self,
        client: CacheClient,
        encoder: Encoder,
        threads: ThreadPoolExecutor,
        bounds: Bounds,
        figures: Figures,
        broken: Callable[[BaseException], None],
        over: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._encoder, self._threads = client, encoder, threads
        self._bounds, self._figures, self._broken, self._over = bounds, figures, broken, over
        self._ended = threading.Event()
        self._room = threading.Semaphore(BATCHES)
        self._decoding: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._parts = [
            threading.Thread(target=self._guarded, args=(part,), name=name, daemon=True)
            for name, part in (("take", self._take), ("encode", self._encode))
        ]
        self._running = len(self._parts)
        self._lock = threading.Lock()
        for part in self._parts:
            part.start()

    @property
    def is_over(self) -> bool:
        """Nothing runs any more."""
        return self._running == 0

    def end(self) -> None:
        """Nothing new is taken; a batch that is being encoded takes its time."""
        self._ended.set()

    def close(self) -> None:
        """Returns when nothing runs any more; images that were taken go back to others."""
        self.end()
        for part in self._parts:
            part.join()
        while not self._decoding.empty():
            batch = self._decoding.get()
            self._figures.let_go(0 if batch is None else len(batch.leases))
        self._client.close()

    def _guarded(self, part: Callable[[], None]) -> None:
        try:
            part()
        except CacheGone:
            log.warning("the cache manager is gone")
            self._ended.set()
        except BaseException as error:  # the process ends with it: nobody else would hear of it
            self._ended.set()
            self._broken(error)
        finally:
            self._decoding.put(None)
            self._room.release()  # the other part may wait for it
            with self._lock:
                self._running -= 1
            if self.is_over:
                self._over()

    def _take(self) -> None:
        while True:
            self._room.acquire()
            leases: list[Lease] = []
            while not leases:
                if self._ended.is_set():
                    return
                with suppress(CacheTimeout):
                    leases = self._client.take(
                        self._bounds.images, self._bounds.pixels, self._bounds.original_pixels, timeout=LOOK_SECONDS
                    )
            self._figures.taken(len(leases))
            self._decoding.put(Batch(leases, [self._threads.submit(self._prepare, lease) for lease in leases]))

    def _prepare(self, lease: Lease) -> Pixels | None:
        began = 0.0

        def is_wanted() -> bool:
            nonlocal began
            (wanted,) = self._client.keep([lease])
            began = time.perf_counter()
            return wanted

        pixels = self._encoder.prepare(lease, is_wanted)
        if pixels is not None:
            self._figures.decoded(time.perf_counter() - began)
        return pixels

    def _encode(self) -> None:
        self._encoder.enter_thread()
        while (batch := self._decoding.get()) is not None:
            try:
                if self._ended.is_set():
                    return
                self._finish(batch)
            finally:
                self._figures.let_go(len(batch.leases))
            self._room.release()

    def _finish(self, batch: Batch) -> None:
        decoded: list[tuple[Lease, Pixels]] = []
        for lease, future in zip(batch.leases, batch.inputs, strict=True):
            try:
                pixels = future.result()
            except EncodeError as error:
                self._fail(lease, error)
            else:
                if pixels is None:
                    self._figures.abandoned(1)
                else:
                    decoded.append((lease, pixels))
        if not decoded:
            return
        wanted = self._client.keep([lease for lease, _ in decoded])
        leases = [lease for (lease, _), still in zip(decoded, wanted, strict=True) if still]
        inputs = [pixels for (_, pixels), still in zip(decoded, wanted, strict=True) if still]
        self._figures.abandoned(len(decoded) - len(leases))
        if not leases:
            return
        began = time.perf_counter()
        outcomes = self._encoder.encode(leases, inputs)
        good = [lease for lease, fault in zip(leases, outcomes, strict=True) if fault is None]
        if good:
            self._client.publish_features(good)
        for lease, fault in zip(leases, outcomes, strict=True):
            if fault is not None:
                self._fail(lease, fault)
        total = sum(one.shape.pixels for one in inputs)
        self._figures.batch(len(good), total, time.perf_counter() - began)

    def _fail(self, lease: Lease, error: EncodeError) -> None:
        log.warning("an image was refused: %s", error)
        self._figures.failed()
        self._client.fail(lease, str(error))
