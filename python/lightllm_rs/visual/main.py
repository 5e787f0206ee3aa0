"""Entry of the visual server."""

from __future__ import annotations

import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lightllm_rs.cache import CacheClient, CacheError
from lightllm_rs.checkpoint import Checkpoint, CheckpointError
from lightllm_rs.messages.control import Beat, CacheDown, CacheUp, Holds, Stop
from lightllm_rs.messages.frames import encode
from lightllm_rs.messages.sockets import Poller
from lightllm_rs.process.child import Child, StartError, decode
from lightllm_rs.process.early_context import open_context_early
from lightllm_rs.process.telemetry import Telemetry
from lightllm_rs.vision import open_geometry
from lightllm_rs.visual.figures import Figures

if TYPE_CHECKING:
    from lightllm_rs.models.vision import VisionTower
    from lightllm_rs.visual.pipeline import Bounds, Pipeline

log = logging.getLogger(__name__)

PERIOD = 1.0

MOST_THREADS = 16
"""Where the settings leave their number open: more would only wait for one another, as what is decoded at a time is
bounded in pixels too."""


def run(child: Child) -> None:
    """Encodes what the cache managers have, until the supervisor says stop."""
    child.open_control()
    began = time.perf_counter()
    if child.start.device == "cuda":
        open_context_early(child.start.gpu)
    try:
        from lightllm_rs.visual.pipeline import Bounds
        from lightllm_rs.visual.warm import warm
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise StartError(f"torch is not installed for {sys.executable}: install it") from None
    child.phase("imports", time.perf_counter() - began)
    tower = load(child)
    settings = child.start.settings
    bounds = Bounds.of(settings, child.start.device)
    if child.start.device == "cuda":
        from lightllm_rs.visual.device import device_bytes

        began = time.perf_counter()
        told = warm(tower, settings.max_image_pixels, bounds)
        held = device_bytes(tower.device)
        child.phase("largest batches", time.perf_counter() - began, f"{told}, {held / 2**30:.2f} GiB")
        child.open_control().send(encode(Holds(held)))
    # Only now: the backend waits for the lines above, and not for this.
    began = time.perf_counter()
    try:
        tower.processor.load()
    except CheckpointError as error:
        raise StartError(str(error)) from None
    child.phase("image processor", time.perf_counter() - began)
    server = VisualServer(child, tower, bounds)
    child.ready()
    server.run()


def load(child: Child) -> VisionTower:
    """The tower on its device. Raises StartError."""
    from lightllm_rs.models.vision import load_tower
    from lightllm_rs.visual.device import choose_dtype, open_device

    start = child.start
    began = time.perf_counter()
    device, dtype = open_device(start), choose_dtype(start)
    child.phase("device", time.perf_counter() - began, str(device))
    began = time.perf_counter()
    path = Path(start.model_path)
    checkpoint = Checkpoint(path, path.name, dummy=start.settings.load_format == "dummy")
    try:
        geometry = open_geometry(checkpoint)
        assert geometry is not None, "the supervisor starts this process only for models that see"
        tower = load_tower(checkpoint, geometry, dtype=dtype, device=device, seed=start.settings.seed)
    except CheckpointError as error:
        raise StartError(str(error)) from None
    child.phase("weights", time.perf_counter() - began, f"{type(tower).__name__} in {dtype}")
    return tower


def threads(cores: int) -> int:
    """That decode, where the settings leave their number open."""
    return min(cores, MOST_THREADS)


class VisualServer:
    """What the supervisor says, and the clock; the work is done by a `Pipeline` of the present cache manager."""

    def __init__(self, child: Child, tower: VisionTower, bounds: Bounds) -> None:
        from lightllm_rs.visual.encoder import Encoder

        settings = child.start.settings
        self._child, self._bounds = child, bounds
        self._encoder = Encoder(tower, settings.max_image_pixels, bounds.original_pixels)
        self._threads = ThreadPoolExecutor(settings.visual_threads or threads(len(os.sched_getaffinity(0))), "decode")
        self._figures = Figures()
        count_blocks(tower, self._figures)
        self._telemetry = Telemetry(child.start)
        self._endpoint: str | None = None
        self._pipeline: Pipeline | None = None
        self._leaving = False  # the cache manager of the pipeline
        self._broken: BaseException | None = None
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poller = Poller()
        self._poller.add(child.open_control())
        self._poller.add(self._alarm)

    def run(self) -> None:
        """Returns when the supervisor says stop. Raises what broke a pipeline."""
        due = time.monotonic()
        while self._hear():
            if self._broken is not None:
                raise self._broken
            self._leave()
            now = time.monotonic()
            if now >= due:
                self._beat()
                self._connect()
                due = now + PERIOD
            if self._alarm in self._poller.wait(max(0, round((due - now) * 1000))):
                os.eventfd_read(self._alarm)
        self._disconnect()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._telemetry.close()

    def _beat(self) -> None:
        """Says that this process lives and gets on; the supervisor kills one that does not."""
        busy, progress = self._figures.under_way > 0, self._figures.progress
        self._child.open_control().send(encode(Beat(busy, progress)))
        self._figures.tell(self._telemetry)
        self._telemetry.heartbeat(busy=busy, progress=progress)
        self._telemetry.flush()

    def _hear(self) -> bool:
        while (frame := self._child.open_control().receive(0)) is not None:
            message = decode(frame)
            if isinstance(message, Stop):
                return False
            if isinstance(message, CacheDown | CacheUp):
                self._endpoint = message.endpoint if isinstance(message, CacheUp) else None
                self._leaving = True
        return True

    def _leave(self) -> None:
        """Goes to the present cache manager once the batch for the former one is done. Waiting for that would be taken
        for a standstill."""
        if self._leaving and self._pipeline is not None:
            self._pipeline.end()
        if self._leaving and (self._pipeline is None or self._pipeline.is_over):
            self._leaving = False
            self._disconnect()
            self._connect()

    def _connect(self) -> None:
        """Begins to encode, unless that is under way or nobody answers, which is tried again each second."""
        from lightllm_rs.visual.pipeline import Pipeline

        if self._endpoint is None or self._pipeline is not None:
            return
        try:
            client = CacheClient(self._endpoint, self._child.start.process, timeout=PERIOD)
        except CacheError as error:
            log.warning("the cache manager does not answer: %s", error)
            return
        self._pipeline = Pipeline(
            client, self._encoder, self._threads, self._bounds, self._figures, self._breaks, self._ring
        )

    def _disconnect(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def _breaks(self, error: BaseException) -> None:
        self._broken = error
        self._ring()

    def _ring(self) -> None:
        """Wakes `run`."""
        os.eventfd_write(self._alarm, 1)


def count_blocks(tower: VisionTower, figures: Figures) -> None:
    """Has each block of the tower counted when it has been computed: a batch may take long on a CPU."""
    from torch import nn

    for blocks in tower.modules():
        if isinstance(blocks, nn.ModuleList):
            for block in blocks:
                block.register_forward_hook(lambda *_: figures.block())
