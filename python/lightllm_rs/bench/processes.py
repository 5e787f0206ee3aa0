"""The processes of an engine, with this one as their supervisor."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

import msgspec

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.messages import control
from lightllm_rs.messages.frames import encode
from lightllm_rs.messages.sockets import Hub
from lightllm_rs.process.start import ChildStart
from lightllm_rs.supervisor.child_process import default_command

STOP_SECONDS = 30.0
LOOK_MS = 100
"""How often they are looked at while they start."""


class Processes:
    """Started by its making; `stop` must be called.

    Args:
        hub: their control socket.
    """

    def __init__(self, hub: Hub, starts: Sequence[ChildStart]) -> None:
        self._hub = hub
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        for start in starts:
            child = subprocess.Popen(default_command(start), stdin=subprocess.PIPE, stdout=2)  # noqa: S603  all to stderr
            assert child.stdin is not None
            self._children[start.process] = child
            child.stdin.write(msgspec.msgpack.encode(start))
            child.stdin.close()

    def wait_ready(self, seconds: float, phase: Callable[[str, float, str], object]) -> None:
        """Until all are ready. Raises BenchError if one dies, or it takes longer than `seconds`.

        Args:
            phase: is told of the phases of the start: name, seconds, detail.
        """
        deadline, waiting = time.monotonic() + seconds, len(self._children)
        while waiting:
            for message in self.check(LOOK_MS):
                if isinstance(message, control.Phase):
                    phase(message.name, message.seconds, message.detail)
                waiting -= isinstance(message, control.Ready)
            if waiting and time.monotonic() > deadline:
                raise BenchError(f"the engine was not ready after {seconds:g} s (--start-timeout)")

    def check(self, wait_ms: int = 0) -> list[control.ChildMessage]:
        """What they say. Raises BenchError if one has said its last words, or died without any."""
        dead = next((name for name, child in self._children.items() if child.poll() is not None), None)
        said: list[control.ChildMessage] = []
        while (received := self._hub.receive(0 if said else wait_ms)) is not None:
            message = control.child_decoder.decode(received[1])
            if isinstance(message, control.Fatal):
                raise BenchError(f"{received[0].decode()}: {message.message}")
            said.append(message)
        if dead is not None:
            code = self._children[dead].returncode
            raise BenchError(f"{dead} ended with code {code}: its last lines say why")
        return said

    def stop(self) -> None:
        """Ends all: by a word if they hear it."""
        for name in self._children:
            self._hub.send(name.encode(), encode(control.Stop()))
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children.values():
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
