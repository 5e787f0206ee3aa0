"""A child's own view of the service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lightllm_rs.messages import control
from lightllm_rs.messages.frames import PROTOCOL, BadFrame, encode
from lightllm_rs.messages.sockets import AsyncDealer, Dealer, endpoint
from lightllm_rs.process.start import ChildStart

LAST_WORDS_MS = 1000
"""How long a closing control socket tries to get rid of what it still has to say."""


class StartError(Exception):
    """The process cannot start; the message is one line that says what to do. Ends it without a traceback."""


class Child:
    """What `run(child)` of a process package gets.

    Attributes:
        start: what the supervisor said.
        born: `time.perf_counter()` when the process began to run its own code.
    """

    def __init__(self, start: ChildStart) -> None:
        self.start = start
        self.born = time.perf_counter()
        self._control: Dealer | None = None

    def endpoint(self, name: str) -> str:
        """The ipc endpoint of the socket `name`, such as "control" or "plans-{epoch}"."""
        return endpoint(self.start.run_dir, name)

    def open_control(self) -> Dealer:
        """Connects to the supervisor and says hello. Later calls return the same socket, for one thread alone."""
        if self._control is None:
            self._greet(Dealer(self.endpoint("control"), self.start.process, linger_ms=LAST_WORDS_MS))
        assert self._control is not None
        return self._control

    def open_control_async(self, on_message: Callable[[control.SupervisorMessage], None]) -> AsyncDealer:
        """The same on the running event loop; `on_message` is called for each message."""
        assert self._control is None, "the control socket is open already"

        def on_frame(frame: bytes) -> None:
            message = decode(frame)
            if message is not None:
                on_message(message)

        dealer = AsyncDealer(self.endpoint("control"), self.start.process, on_frame, linger_ms=LAST_WORDS_MS)
        self._greet(dealer)
        return dealer

    def _greet(self, dealer: Dealer) -> None:
        self._control = dealer
        dealer.send(encode(control.ChildHello(PROTOCOL, self.start.process, os.getpid())))

    def receive(self, timeout_ms: int | None) -> control.SupervisorMessage | None:
        """The supervisor's next message, or None after `timeout_ms`."""
        frame = self.open_control().receive(timeout_ms)
        return None if frame is None else decode(frame)

    def phase(self, name: str, seconds: float, detail: str = "") -> None:
        """Reports a finished part of the start for the supervisor's table."""
        self.open_control().send(encode(control.Phase(name, seconds, detail)))

    def ready(self) -> None:
        """Says that this process serves from now on."""
        self.open_control().send(encode(control.Ready()))

    def fatal(self, message: str) -> None:
        """Says this process's last words; the caller exits with a non-zero code."""
        self.open_control().send(encode(control.Fatal(message)))

    def drained(self) -> None:
        """HTTP processes: no request is left."""
        self.open_control().send(encode(control.Drained()))

    def close(self) -> None:
        """Closes the control socket; what was said is still sent."""
        if self._control is not None:
            self._control.close()
            self._control = None


def decode(frame: bytes) -> control.SupervisorMessage | None:
    """A frame of the supervisor; None for one that does not decode (both sides are of one version, so: never)."""
    try:
        return control.supervisor_decoder.decode(frame)
    except BadFrame:
        return None
