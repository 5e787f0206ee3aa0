"""What the supervisor itself tells the health and the metric server."""

from __future__ import annotations

import os

from lightllm_rs.messages.frames import encode
from lightllm_rs.messages.sockets import Dealer, endpoint
from lightllm_rs.messages.telemetry import ServiceState
from lightllm_rs.process.start import ChildStart
from lightllm_rs.process.telemetry import Telemetry
from lightllm_rs.supervisor.child_process import ChildProcess


class Reporter:
    """Sends the state of the service at each change, and figures when told to.

    Args:
        sees: whether the model takes images.
    """

    def __init__(self, start: ChildStart, sees: bool) -> None:
        self._health = Dealer(endpoint(start.run_dir, "health"), f"supervisor.{os.getpid()}")
        self._telemetry = Telemetry(start, health=self._health)
        self._state, self._images = "loading", ""
        if sees:
            self._telemetry.gauge("lightllm_images_available", 1.0)

    def state(self, state: str) -> None:
        """ "loading", "serving", "draining" or "down"."""
        self._state = state
        self._health.send(encode(ServiceState(state, self._images)))

    def images(self, why: str) -> None:
        """Why no image can be encoded; "" if one can."""
        self._images = why
        self._health.send(encode(ServiceState(self._state, why)))
        self._telemetry.gauge("lightllm_images_available", 0.0 if why else 1.0)
        self._telemetry.flush()

    def started(self, child: ChildProcess) -> None:
        """How long the child took, phase by phase, and until it was ready."""
        assert child.ready is not None
        for phase in child.phases:
            self._telemetry.gauge("lightllm_startup_seconds", phase.seconds, (child.name, phase.name))
        self._telemetry.gauge("lightllm_startup_seconds", child.ready - child.spawned, (child.name, "ready"))

    def restarted(self, name: str) -> None:
        """A process is started again."""
        self._telemetry.add("lightllm_process_restarts_total", 1, (name,))

    def flush(self, bad_frames: int) -> None:
        """Sends what has come together; `bad_frames` since the last call."""
        if bad_frames:
            self._telemetry.add("lightllm_bad_frames_total", bad_frames, ("supervisor",))
        self._telemetry.heartbeat()
        self._telemetry.flush()

    def close(self) -> None:
        """Closes the sockets."""
        self._telemetry.close()
        self._health.close()
