"""All children at once: starts them, and turns what they say and how they end into events."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lightllm_rs.messages.control import (
    ChildHello,
    ChildMessage,
    Fatal,
    Notice,
    Phase,
    SupervisorMessage,
    child_decoder,
)
from lightllm_rs.messages.frames import PROTOCOL, BadFrame, encode
from lightllm_rs.messages.sockets import Hub, Poller, endpoint
from lightllm_rs.process.start import ChildStart
from lightllm_rs.supervisor.child_process import ChildProcess, Command
from lightllm_rs.supervisor.errors import ServiceError
from lightllm_rs.supervisor.signals import SignalPipe

log = logging.getLogger(__name__)

WORDS_SECONDS = 1.0
"""A child's last words may be on their way still when it is dead: libzmq reads sockets in a thread of its own."""


class Said(msgspec.Struct):
    """A child said `message` (never ChildHello, Phase, Notice or Fatal: those are dealt with here)."""

    child: ChildProcess
    message: ChildMessage


class Died(msgspec.Struct):
    """A child is gone; it has been reaped and is no longer among `children`."""

    child: ChildProcess


class Signalled(msgspec.Struct):
    """The user asked for the end, so many times."""

    count: int


Event = Said | Died | Signalled


class Fleet:
    """The children, the control socket, and the signal pipe under one poller.

    Attributes:
        children: those that live, by process name.
        bad_frames: frames that did not decode.
    """

    def __init__(self, run_dir: Path, signals: SignalPipe, command: Command) -> None:
        self.children: dict[str, ChildProcess] = {}
        self.bad_frames = 0
        self._signals = signals
        self._command = command
        self._greeted: set[int] = set()  # process ids that said hello
        self._hub = Hub(endpoint(run_dir, "control"))
        self._poller = Poller()
        self._poller.add(self._hub)
        self._poller.add(signals.fd)

    def spawn(self, start: ChildStart) -> ChildProcess:
        """Starts a child. Raises ServiceError where the system refuses."""
        assert start.process not in self.children, f"{start.process} runs already"
        try:
            child = ChildProcess(start, self._command)
        except OSError as error:
            raise ServiceError(f"{start.process} cannot be started: {error.strerror}") from None
        self.children[child.name] = child
        self._poller.add(child.pidfd)
        self._poller.add(child.output.fd)
        return child

    def send(self, child: ChildProcess, message: SupervisorMessage) -> bool:
        """Sends to one child. False if it has not said hello: there is nobody to send to."""
        if child.pid not in self._greeted:
            return False
        self._hub.send(child.name.encode(), encode(message))
        return True

    def wait(self, seconds: float) -> Iterator[Event]:
        """What happened within `seconds`; comes back as soon as there is something, perhaps with nothing to say."""
        sources = set(self._poller.wait(max(0, math.ceil(seconds * 1000))))
        if self._signals.fd in sources:
            yield Signalled(self._signals.take())
        dead = []
        for child in list(self.children.values()):
            if child.output.fd in sources and not child.output.forward():
                self._poller.remove(child.output.fd)
            if child.pidfd in sources:
                dead.append(child)
        yield from self._said()
        for child in dead:
            yield from self._bury(child)

    def _said(self) -> Iterator[Said]:
        while (received := self._hub.receive(0)) is not None:
            event = self._take(*received)
            if event is not None:
                yield event

    def _take(self, identity: bytes, frame: bytes) -> Said | None:
        child = self.children.get(identity.decode(errors="replace"))
        try:
            message = child_decoder.decode(frame)
        except BadFrame:
            self.bad_frames += 1
            return None
        if child is None:
            return None
        if isinstance(message, ChildHello):
            if message.protocol != PROTOCOL:
                raise ServiceError(
                    f"{child.name} speaks version {message.protocol} of the wire and the supervisor {PROTOCOL}: "
                    "the installation is mixed, install it again"
                )
            if message.pid == child.pid:
                self._greeted.add(child.pid)
            return None
        if child.pid not in self._greeted:
            return None  # a late word of a former process of this name
        if isinstance(message, Phase):
            child.phases.append(message)
            return None
        if isinstance(message, Notice):
            log.warning("%s: %s", child.name, message.message)
            return None
        if isinstance(message, Fatal):
            child.words = message.message
            return None
        return Said(child, message)

    def _bury(self, child: ChildProcess) -> Iterator[Event]:
        child.reap()
        speaks = not child.doomed and child.exit_code > 0  # what a signal killed has no last words
        deadline = time.monotonic() + (WORDS_SECONDS if speaks else 0.0)
        while not child.words and time.monotonic() < deadline:
            received = self._hub.receive(20)
            event = None if received is None else self._take(*received)
            if event is not None:
                yield event
        self._poller.remove(child.pidfd)
        if not child.output.ended:
            self._poller.remove(child.output.fd)
        child.close()
        del self.children[child.name]
        self._greeted.discard(child.pid)
        yield Died(child)
