"""A real HTTP process, with the test as its supervisor, its router and its health and metric servers."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from helpers.router_scripts import CONTEXT, VOCAB, Script, Step, choices_of, says
from lightllm_rs.messages import control, requests, telemetry
from lightllm_rs.messages.frames import PROTOCOL, encode
from lightllm_rs.messages.sockets import Hub, endpoint
from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings import ServeSettings

START_SECONDS = 60.0
WAIT_SECONDS = 60.0


class HttpProcess:
    """The process and the other ends of its sockets, which a thread serves.

    Attributes:
        script: what the fake router answers to each new request.
        pace: seconds between its steps.
        adds, aborts, received: what the process has told it; `adds` has one entry a choice, `frames` one a frame.
        counters: sums of the samples that it reported, by name and labels.
        health: the health server's answer.
    """

    def __init__(self, run_dir: Path, model: Path, **settings: Any) -> None:
        self.script: Script = says("Hello world")
        self.pace = 0.0
        self.adds: list[requests.Add] = []
        self.frames: list[requests.Add] = []
        self.aborts: list[int] = []
        self.received = 0
        self.counters: dict[tuple[str, ...], float] = {}
        self.observed: dict[str, list[float]] = {}
        self.health = telemetry.HealthAnswer(0, True, True)
        self.answers_health = True
        self.said: list[control.ChildMessage] = []
        self._epoch = 0
        self._running: dict[int, Generator[Step, None, None]] = {}
        self._client = b""
        self._orders: queue.Queue[Callable[[], None]] = queue.Queue()
        self._stop = threading.Event()
        self._run_dir = run_dir
        self._control = Hub(endpoint(run_dir, "control"))
        self._health = Hub(endpoint(run_dir, "health"))
        self._metrics = Hub(endpoint(run_dir, "metrics"))
        self._requests: Hub | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        start = ChildStart(
            process="http-0",
            run_dir=str(run_dir),
            settings=ServeSettings(**settings),
            model_path=str(model),
            model_name="tiny",
            device="cpu",
            supervisor=os.getpid(),
            listen_fd=self._listener.fileno(),
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lightllm_rs.process"],
            stdin=subprocess.PIPE,
            pass_fds=[self._listener.fileno()],
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.msgpack.encode(start))
        self.process.stdin.close()
        self._listener.close()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    # What a test does.

    def say(self, message: control.SupervisorMessage) -> None:
        """The supervisor tells the process something."""
        self._orders.put(lambda: self._control.send(b"http-0", encode(message)))

    def engine_up(self) -> None:
        """A router starts, with a new epoch."""
        self._orders.put(self._open_requests)

    def engine_down(self, reason: str = "the router was killed") -> None:
        """The router is gone."""
        self._running.clear()
        self.say(control.EngineDown(reason))

    def wait(self, what: Callable[[], bool], message: str = "it did not happen") -> None:
        """Until `what` holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not what():
            assert time.monotonic() < deadline, message
            assert self.process.poll() is None, "the HTTP process died"
            time.sleep(0.005)

    def counter(self, *key: str) -> float:
        """A counter's sum: name, then labels."""
        return self.counters.get(key, 0.0)

    def reset(self) -> None:
        """Back to the state in which tests begin."""
        self.script, self.pace = says("Hello world"), 0.0
        self.adds.clear()
        self.frames.clear()
        self.aborts.clear()
        self.health, self.answers_health = telemetry.HealthAnswer(0, True, True), True

    @property
    def live(self) -> int:
        """Requests that the fake router still answers."""
        return len(self._running)

    def close(self) -> None:
        """Ends the process and the thread."""
        self.process.kill()
        self.process.wait()
        self._stop.set()
        self._thread.join()

    # What the thread does.

    def _serve(self) -> None:
        hubs = (
            (self._control, lambda _, frame: self.said.append(control.child_decoder.decode(frame))),
            (self._health, self._on_health),
            (self._metrics, self._on_metrics),
        )
        stepped = 0.0
        while not self._stop.is_set():
            while not self._orders.empty():
                self._orders.get()()
            for hub, handle in hubs:
                while (got := hub.receive(0)) is not None:
                    handle(*got)
            if self._requests is not None:
                while (got := self._requests.receive(0 if self._running else 2)) is not None:
                    self._on_request(*got)
                if self._running and time.monotonic() - stepped >= self.pace:
                    stepped = time.monotonic()
                    self._step()
            if not self._running or self.pace:
                time.sleep(0.001)
        for hub in (self._control, self._health, self._metrics, self._requests):
            if hub is not None:
                hub.close()

    def _open_requests(self) -> None:
        if self._requests is not None:
            self._requests.close()
        self._running.clear()
        self._epoch += 1
        address = endpoint(self._run_dir, f"requests-{self._epoch}")
        self._requests = Hub(address)
        self._control.send(b"http-0", encode(control.EngineUp(self._epoch, address)))

    def _on_request(self, identity: bytes, frame: bytes) -> None:
        message = requests.client_decoder.decode(frame)
        if isinstance(message, requests.ClientHello):
            assert self._requests is not None
            self._client = identity
            self.received = 0
            self._requests.send(identity, encode(requests.RouterHello(PROTOCOL, VOCAB, CONTEXT, 64, 16, 64)))
        elif isinstance(message, requests.Add):
            self.frames.append(message)
            for choice in choices_of(message):
                self.adds.append(choice)
                self._running[choice.request] = self.script(choice)
        elif isinstance(message, requests.Abort):
            for number in message.requests:
                self.aborts.append(number)
                self._running.pop(number, None)
        else:
            self.received = message.total

    def _step(self) -> None:
        assert self._requests is not None
        rows: list[requests.OutputRow] = []
        for number, script in list(self._running.items()):
            step = next(script, None)
            if isinstance(step, requests.Failed):
                del self._running[number]
                self._requests.send(self._client, encode(step))
            elif step is not None:
                rows.append(step)
                if step.finish != requests.RUNNING:
                    self._running.pop(number, None)
        if rows:
            self._requests.send(self._client, encode(requests.StepOutput(rows)))

    def send_raw(self, frame: bytes) -> None:
        """Bytes from the router to the process."""

        def order() -> None:
            assert self._requests is not None
            self._requests.send(self._client, frame)

        self._orders.put(order)

    def _on_health(self, identity: bytes, frame: bytes) -> None:
        message = telemetry.health_decoder.decode(frame)
        if isinstance(message, telemetry.HealthQuery) and self.answers_health:
            self._health.send(identity, encode(msgspec.structs.replace(self.health, query=message.query)))

    def _on_metrics(self, identity: bytes, frame: bytes) -> None:
        message = telemetry.metrics_decoder.decode(frame)
        if isinstance(message, telemetry.MetricsQuery):
            self._metrics.send(identity, encode(telemetry.MetricsAnswer(message.query, "# a page\n")))
        elif isinstance(message, telemetry.GaugesQuery):
            values = [float(number + 1) for number, _ in enumerate(message.names)]
            self._metrics.send(identity, encode(telemetry.GaugesAnswer(message.query, values)))
        else:
            for sample in message.samples:
                key = (sample.name, *sample.labels)
                self.counters[key] = self.counters.get(key, 0.0) + sample.value
            for observation in message.observations:
                self.observed.setdefault(observation.name, []).extend(observation.values)


@contextmanager
def http_process(run_dir: Path, model: Path, **settings: Any) -> Iterator[HttpProcess]:
    """An HTTP process that is ready, with an engine."""
    process = HttpProcess(run_dir, model, **settings)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not any(isinstance(message, control.Ready) for message in process.said):
            assert time.monotonic() < deadline, f"not ready in time; said so far: {process.said}"
            assert process.process.poll() is None, f"it died; said so far: {process.said}"
            time.sleep(0.01)
        process.engine_up()
        process.wait(lambda: bool(process._client), "the process did not say hello to the router")
        yield process
    finally:
        process.close()
