"""Loop of the health server."""

from __future__ import annotations

import time

from lightllm_rs.health.state import HealthState
from lightllm_rs.messages.control import Stop
from lightllm_rs.messages.frames import BadFrame, encode
from lightllm_rs.messages.sockets import Hub, Poller
from lightllm_rs.messages.telemetry import HealthAnswer, HealthQuery, Heartbeat, ServiceState, health_decoder
from lightllm_rs.process.child import Child
from lightllm_rs.process.telemetry import Telemetry

REPORT_SECONDS = 1.0


def answer(state: HealthState, frame: bytes, telemetry: Telemetry, process: str) -> bytes | None:
    """Takes in a frame; the answer, if it was a question. What does not decode is counted and dropped."""
    now = time.monotonic()
    try:
        message = health_decoder.decode(frame)
    except BadFrame:
        telemetry.add("lightllm_bad_frames_total", 1, (process,))
        return None
    if isinstance(message, Heartbeat):
        state.heartbeat(message, now)
        return None
    if isinstance(message, ServiceState):
        state.service(message.state, now, message.images)
        return None
    assert isinstance(message, HealthQuery)
    healthy, why_unhealthy = state.healthy(now)
    ready, why_unready = state.ready(now)
    reason = why_unhealthy or why_unready or state.degraded(now)
    return encode(HealthAnswer(message.query, healthy, ready, reason))


def run(child: Child) -> None:
    """Serves until the supervisor says Stop."""
    hub = Hub(child.endpoint("health"))
    state = HealthState(child.start.settings.stall_seconds, time.monotonic())
    control, telemetry, poller = child.open_control(), Telemetry(child.start), Poller()
    poller.add(hub)
    poller.add(control)
    child.ready()
    due = time.monotonic()
    while not isinstance(child.receive(0), Stop):
        while (received := hub.receive(0)) is not None:
            reply = answer(state, received[1], telemetry, child.start.process)
            if reply is not None:
                hub.send(received[0], reply)
        now = time.monotonic()
        if now >= due:
            telemetry.flush()
            due = now + REPORT_SECONDS
        poller.wait(max(0, round((due - now) * 1000)))
    telemetry.close()
    hub.close()
