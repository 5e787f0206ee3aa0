"""The HTTP server process."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from lightllm_rs.checkpoint import Checkpoint, CheckpointError
from lightllm_rs.http.access_log import open_access_log
from lightllm_rs.http.app import create_app
from lightllm_rs.http.defaults import Defaults, defaults_of
from lightllm_rs.http.engine import Engine
from lightllm_rs.http.image_cache import ImageCache
from lightllm_rs.http.image_model import ImageModel
from lightllm_rs.http.observe import Observer
from lightllm_rs.http.queries import Queries
from lightllm_rs.http.server import Server, build_server, inherited
from lightllm_rs.http.service import Service
from lightllm_rs.media import Limits, Loader
from lightllm_rs.messages import control
from lightllm_rs.process.child import Child, StartError
from lightllm_rs.process.telemetry import Telemetry
from lightllm_rs.tokenizer import TextTokenizer, TokenizerError, load_tokenizer
from lightllm_rs.tokenizer.trial import try_template
from lightllm_rs.vision import open_geometry

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
GARBAGE_OBJECTS = 20_000
"""New containers between two collections: Python's own 700 are a few requests."""

IDLE_FLUSH_SECONDS = 0.02
"""Figures leave so soon after the last request, so that an idle server's page is up to date."""


def run(child: Child) -> None:
    """Serves until the supervisor says stop."""
    for noisy in ("uvicorn", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    uvloop.run(HttpProcess(child).serve())


class HttpProcess:
    """One HTTP process: what the supervisor tells it, and its clock."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._drained = False

    async def serve(self) -> None:
        """Loads the tokenizer, serves, ends."""
        child, start = self._child, self._child.start
        child.open_control_async(self._on_message)
        began = time.perf_counter()
        tokenizer, defaults, images = _load(child)
        child.phase("tokenizer", time.perf_counter() - began, f"{tokenizer.vocab} tokens")
        self._engine = Engine(start.process)
        self._observer = Observer(Telemetry(start), start.process)
        self._service = Service(
            settings=start.settings,
            model_name=start.model_name,
            tokenizer=tokenizer,
            defaults=defaults,
            engine=self._engine,
            observer=self._observer,
            queries=Queries(start.run_dir, start.process),
            hash_key=start.hash_key,
            seeds=random.Random(f"{start.settings.seed}/{start.process}"),  # noqa: S311 - sampling, not secrets
            images=images,
            image_cache=None if images is None else ImageCache(start.process),
            media=None if images is None else Loader(Limits.of(start.settings)),
        )
        self._service.on_idle = self._on_idle
        if tokenizer.chat_template is not None:
            try:
                await try_template(tokenizer.chat_template)
            except TokenizerError as error:
                raise StartError(str(error)) from None
        try:
            self._server: Server = build_server(create_app(self._service), start.settings, child.ready)
        except OSError as error:  # ssl.SSLError is one
            raise StartError(f"the TLS files cannot be used: {error}") from None
        gc.collect()
        gc.freeze()  # what is there now stays: collections need not look at it
        gc.set_threshold(GARBAGE_OBJECTS)
        access_log = open_access_log()
        await beside(self._tick(), self._server.serve([inherited(start.listen_fd)]))
        self._engine.close()
        self._service.queries.close()
        if self._service.image_cache is not None:
            self._service.image_cache.disconnect()
        if self._service.media is not None:
            self._service.media.close()
        self._observer.close()
        self._service.threads.shutdown(wait=False, cancel_futures=True)
        access_log.flush()

    async def _tick(self) -> None:
        settings = self._service.settings
        step = min(TICK_SECONDS, settings.keepalive_seconds / 4, settings.stream_stall_timeout / 4)
        reported = 0.0
        while True:
            await asyncio.sleep(step)
            self._service.tick()
            if time.monotonic() - reported >= TICK_SECONDS:
                reported = time.monotonic()
                self._report()

    def _report(self) -> None:
        self._observer.latencies(*self._engine.streams.take_latencies())
        self._observer.tick(self._engine.bad_frames)

    def _on_message(self, message: control.SupervisorMessage) -> None:
        if isinstance(message, control.EngineUp):
            self._engine.connect(message.endpoint)
        elif isinstance(message, control.EngineDown):
            self._engine.disconnect(message.reason)
        elif isinstance(message, control.CacheUp):
            if self._service.image_cache is not None:
                self._service.image_cache.connect(message.endpoint)
        elif isinstance(message, control.CacheDown):
            if self._service.image_cache is not None:
                self._service.image_cache.disconnect()
        elif isinstance(message, control.ImagesDown | control.ImagesUp):
            if self._service.image_cache is not None:
                seconds = message.seconds if isinstance(message, control.ImagesDown) else None
                self._service.image_cache.down_for(seconds)
        elif isinstance(message, control.Drain):
            self._service.draining = True
            self._server.stop_accepting()
            self._on_idle()
        else:
            self._server.should_exit = True

    def _on_idle(self) -> None:
        if self._service.draining and not self._service.active and not self._drained:
            self._drained = True
            self._child.drained()
        asyncio.get_running_loop().call_later(IDLE_FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        if not self._service.active:
            self._report()


async def beside(clock: Coroutine[Any, Any, None], work: Coroutine[Any, Any, None]) -> None:
    """Does the work, with a clock that runs as long. A clock that fails ends both with its error: streams that nobody
    looks after any more would hang for ever.
    """
    ticking, working = asyncio.create_task(clock), asyncio.create_task(work)
    try:
        await asyncio.wait((ticking, working), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            ticking.result()
        await working
    finally:
        ticking.cancel()
        working.cancel()


def _load(child: Child) -> tuple[TextTokenizer, Defaults, ImageModel | None]:
    start = child.start
    settings = start.settings
    checkpoint = Checkpoint(Path(start.model_path), start.model_name)
    try:
        config = checkpoint.config()
        tokenizer = load_tokenizer(
            checkpoint.path,
            Path(settings.tokenizer) if settings.tokenizer else None,
            Path(settings.chat_template) if settings.chat_template else None,
        )
        geometry = None if settings.backend == "mock" else open_geometry(checkpoint)
        images = None if geometry is None else ImageModel(geometry, config, settings.dtype, start.device)
        return tokenizer, defaults_of(checkpoint.generation_config(), config.end_ids), images
    except (TokenizerError, CheckpointError) as error:
        raise StartError(str(error)) from None
