"""A request to the whole application that is cancelled, or whose client leaves, between any two callbacks of the event
loop: nothing is left of it anywhere in the process."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from helpers.cache_line import Line
from helpers.garbage import no_collector
from helpers.image_parts import unseen
from helpers.moments import moment
from helpers.tiny_seeing import write_configs
from helpers.tiny_vl import write_vl_tokenizer
from lightllm_rs.checkpoint import Checkpoint
from lightllm_rs.http import body, image_cache, prompts
from lightllm_rs.http.app import create_app
from lightllm_rs.http.defaults import Defaults
from lightllm_rs.http.engine import Engine
from lightllm_rs.http.image_cache import ImageCache
from lightllm_rs.http.image_model import ImageModel
from lightllm_rs.http.service import Service
from lightllm_rs.media import Fetcher, Limits, Loader
from lightllm_rs.messages import requests
from lightllm_rs.messages.frames import PROTOCOL
from lightllm_rs.settings import ServeSettings
from lightllm_rs.tokenizer import load_tokenizer
from lightllm_rs.vision import open_geometry

PLACE = "<|vision_start|><|image_pad|><|vision_end|>"
TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


class Nobody:
    """Takes whatever it is told."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Router:
    """The engine's socket: remembers what runs there."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.heard = asyncio.Event()

    def send(self, frame: bytes) -> None:
        message = requests.client_decoder.decode(frame)
        self.heard.set()
        if isinstance(message, requests.Add):
            self.running |= {message.request, *(sibling.request for sibling in message.siblings)}
        elif isinstance(message, requests.Abort):
            self.running -= set(message.requests)


class Client:
    """One request, and who sent it."""

    def __init__(self, path: str, content: dict[str, Any]) -> None:
        self.path, self.body = path, json.dumps(content).encode()
        self._parts = [self.body[:100], self.body[100:]]
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> Message:
        if self._parts and not self._left.is_set():
            await asyncio.sleep(0)
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._parts)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)

    async def run(self, app: ASGIApp) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body))]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "headers": headers,
            "transport": SimpleNamespace(get_write_buffer_size=lambda: 0, abort=self.leave),
            "body_writer": SimpleNamespace(ready=False),
        }
        await app(scope, self.receive, self.send)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Of a model that sees."""
    folder = write_configs(tmp_path_factory.mktemp("models") / "seeing", "qwen2_vl")
    write_vl_tokenizer(folder, TOKENS, PLACE)
    return Checkpoint(folder, "tiny")


@pytest.fixture
def by_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is short is done in threads too."""
    monkeypatch.setattr(body, "INLINE_BYTES", 0)
    monkeypatch.setattr(prompts, "INLINE_LETTERS", 0)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def service_of(checkpoint: Checkpoint, threads: ThreadPoolExecutor, line: Line) -> tuple[Service, Router]:
    nobody: Any = Nobody()
    engine, router = Engine("http-0"), Router()
    socket: Any = router
    engine._dealer = socket
    engine.limits = requests.RouterHello(PROTOCOL, 384, 1024, 1000, 16, 8, images=True)
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    cache = ImageCache("http-0")
    cache.connect("ipc:///cache-0.sock")
    service = Service(
        settings=ServeSettings(model="tiny", image_wait_timeout=600.0),
        model_name="tiny",
        tokenizer=load_tokenizer(checkpoint.path, None, None),
        defaults=Defaults(()),
        engine=engine,
        observer=nobody,
        queries=nobody,
        seeds=random.Random(1),
        media=Loader(Limits(), Fetcher(Limits(), nobody)),
        images=ImageModel(geometry, checkpoint.config(), "auto", "cpu"),
        image_cache=cache,
        threads=threads,
    )
    return service, router


def content_of(kind: str, number: int) -> tuple[str, dict[str, Any]]:
    """Path and body of a request that no other is like."""
    if kind == "native":
        return "/generate", {"inputs": f"Number {number}", "parameters": {"max_new_tokens": 8, "n": 2}}
    parts: list[dict[str, Any]] = [{"type": "text", "text": "What is it?"}]
    if kind != "text":
        parts += [unseen(number), unseen(number + 1_000_000)]
    messages = [{"role": "user", "content": parts}]
    return "/v1/chat/completions", {"messages": messages, "max_tokens": 8, "stream": kind == "stream"}


@pytest.mark.usefixtures("by_threads")
@pytest.mark.parametrize("kind", ["text", "native", "images", "stream"])
@pytest.mark.parametrize("end", ["cancelled", "left"])
def test_nothing_is_left_of_a_request(
    checkpoint: Checkpoint, threads: ThreadPoolExecutor, kind: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> int:
        line = Line()
        monkeypatch.setattr(image_cache, "AsyncCacheClient", lambda *_, **__: line)
        service, router = service_of(checkpoint, threads, line)
        app = create_app(service)
        assert service.media is not None
        others = asyncio.all_tasks()
        callbacks = 0
        while True:
            client = Client(*content_of(kind, callbacks))
            task = asyncio.ensure_future(client.run(app))
            router.heard.clear()
            with moment(callbacks, task.cancel if end == "cancelled" else client.leave) as over:
                heard = asyncio.ensure_future(router.heard.wait())
                await asyncio.wait([task, heard], return_when=asyncio.FIRST_COMPLETED)
                for _ in range(20):  # what comes after the way to the router
                    await asyncio.sleep(0)
            heard.cancel()
            client.leave()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
            for _ in range(10):
                await asyncio.sleep(0)
            assert not router.running, callbacks
            assert (service.engine.running, len(service.calls), len(service.streams)) == (0, 0, 0), callbacks
            assert (service.media.held, service.incoming, service.active) == (0, 0, 0), callbacks
            assert not line.leases, callbacks
            assert asyncio.all_tasks() == others, "nothing goes on"
            if not over.come:
                return callbacks
            callbacks += 1

    with no_collector():
        assert asyncio.run(asyncio.wait_for(run(), 300)) > 20, "there were such moments"
