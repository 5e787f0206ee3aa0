"""The other ends of a backend process's sockets, for tests that run one rank as a real process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from lightllm_rs.messages.control import ChildMessage, Fatal, Phase, Ready, Stop, child_decoder
from lightllm_rs.messages.frames import encode
from lightllm_rs.messages.sockets import Hub, endpoint
from lightllm_rs.messages.steps import RankMessage, rank_decoder
from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings import ServeSettings

START_SECONDS = 120.0


class FakeSupervisor:
    """Starts ranks and plays supervisor and router for them. A context manager that leaves no process behind."""

    def __init__(self, run_dir: Path, model: Path, device: str = "cpu", **settings: Any) -> None:
        self.run_dir, self.model, self.device = run_dir, model, device
        self.settings = ServeSettings(**settings)
        self.control = Hub(endpoint(run_dir, "control"))
        self.plans = Hub(endpoint(run_dir, "plans-0"))
        self.children: list[subprocess.Popen[bytes]] = []
        self.said: dict[str, list[ChildMessage]] = {}

    def __enter__(self) -> FakeSupervisor:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        self.control.close()
        self.plans.close()

    def start_rank(self, rank: int) -> subprocess.Popen[bytes]:
        start = ChildStart(
            process=f"backend-{rank}",
            run_dir=str(self.run_dir),
            settings=self.settings,
            model_path=str(self.model),
            model_name="tiny",
            device=self.device,
            supervisor=os.getpid(),
            index=rank,
            rank=rank,
        )
        child = subprocess.Popen([sys.executable, "-m", "lightllm_rs.process"], stdin=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(msgspec.msgpack.encode(start))
        child.stdin.close()
        self.children.append(child)
        return child

    def wait_ready(self, count: int = 1) -> None:
        """Until `count` children are ready. Fails with the last words of a child that is not."""
        deadline = time.monotonic() + START_SECONDS
        ready = 0
        while ready < count:
            received = self.control.receive(1000)
            assert time.monotonic() < deadline, f"not ready in time; said so far: {self.said}"
            if received is None:
                continue
            message = child_decoder.decode(received[1])
            self.said.setdefault(received[0].decode(), []).append(message)
            assert not isinstance(message, Fatal), message.message
            ready += isinstance(message, Ready)

    def last_words(self) -> str:
        """The message of the next Fatal."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            received = self.control.receive(1000)
            message = None if received is None else child_decoder.decode(received[1])
            if isinstance(message, Fatal):
                return message.message
        raise AssertionError("no last words")

    def phases(self, process: str) -> list[str]:
        return [message.name for message in self.said[process] if isinstance(message, Phase)]

    def receive(self, timeout_ms: int = 60_000) -> tuple[int, RankMessage]:
        """The next message of a rank, and its rank."""
        received = self.plans.receive(timeout_ms)
        assert received is not None, "the rank says nothing"
        return int(received[0].decode().removeprefix("rank-")), rank_decoder.decode(received[1])

    def send(self, rank: int, message: msgspec.Struct) -> None:
        self.plans.send(f"rank-{rank}".encode(), encode(message))

    def stop(self, rank: int) -> None:
        self.control.send(f"backend-{rank}".encode(), encode(Stop()))
