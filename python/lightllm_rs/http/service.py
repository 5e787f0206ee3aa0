"""What every route of one HTTP process shares."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightllm_rs.http.defaults import Defaults
from lightllm_rs.http.engine import Engine
from lightllm_rs.http.outbox import Outbox
from lightllm_rs.media import Loader
from lightllm_rs.settings import ServeSettings
from lightllm_rs.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from lightllm_rs.http.call import Call
    from lightllm_rs.http.image_cache import ImageCache
    from lightllm_rs.http.image_model import ImageModel
    from lightllm_rs.http.observe import Observer
    from lightllm_rs.http.queries import Queries
    from lightllm_rs.http.streaming import EventStream


@dataclass
class Service:
    """The state of one HTTP process.

    Attributes:
        model_name: as callers name it.
        queries: asks the health and the metric server.
        threads: for long texts, off the event loop.
        calls: requests that are being generated; `streams` are those of them that are streamed.
        outbox: of those that have something to write.
        active: HTTP requests that have no complete answer yet, health questions aside.
        incoming: bytes of bodies that are not all there yet.
        draining: nothing new is accepted.
        on_idle: called each time when `active` falls to 0.
        seeds: for requests without a seed of their own.
        media: brings the images of requests in; None where the model takes none.
        images, image_cache: names and sizes of images, and where their features are; None where the model sees none.
        hash_key: of names that leave this process as hashes; the same in all HTTP processes of the service.
    """

    settings: ServeSettings
    model_name: str
    tokenizer: TextTokenizer
    defaults: Defaults
    engine: Engine
    observer: Observer
    queries: Queries
    seeds: random.Random
    hash_key: bytes = b""
    media: Loader | None = None
    images: ImageModel | None = None
    image_cache: ImageCache | None = None
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "tokenize"))
    calls: set[Call] = field(default_factory=set)
    streams: set[EventStream] = field(default_factory=set)
    outbox: Outbox = field(default_factory=Outbox)
    active: int = 0
    incoming: int = 0
    draining: bool = False
    on_idle: Callable[[], None] | None = None
    started: int = field(default_factory=lambda: int(time.time()))

    def ignored_field(self) -> None:
        """Counts a field that nobody knows."""
        self.observer.ignored_field()

    def enter(self, public: bool) -> None:
        """An HTTP request begins; `public` ones are questions about health."""
        self.active += not public

    def leave(self, public: bool) -> None:
        """An HTTP request is over."""
        self.active -= not public
        if not public and not self.active and self.on_idle is not None:
            self.on_idle()

    def tick(self) -> None:
        """Called about once a second."""
        now = time.monotonic()
        for stream in list(self.streams):
            stream.tick(now)
        self.engine.tick()
