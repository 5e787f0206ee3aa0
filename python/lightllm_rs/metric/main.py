"""Loop of the metric server."""

from __future__ import annotations

import logging
import time

from lightllm_rs.messages.control import Stop
from lightllm_rs.messages.frames import BadFrame, encode
from lightllm_rs.messages.sockets import Hub, Poller
from lightllm_rs.messages.telemetry import (
    GaugesAnswer,
    GaugesQuery,
    MetricsAnswer,
    MetricsQuery,
    Report,
    Sample,
    metrics_decoder,
)
from lightllm_rs.metric.page import Page
from lightllm_rs.metric.stats_line import StatsLine
from lightllm_rs.metric.store import Store
from lightllm_rs.process.child import Child
from lightllm_rs.process.telemetry import Telemetry

REPORT_SECONDS = 1.0

logger = logging.getLogger(__name__)


class MetricServer:
    """Answers one frame at a time.

    Args:
        process: its own name, in the figures about itself.
    """

    def __init__(self, process: str, model_name: str) -> None:
        self._process = process
        self._store = Store(model_name)
        self._page = Page(self._store)
        self._line = StatsLine(self._store, time.monotonic())

    def answer(self, frame: bytes) -> bytes | None:
        """Takes in a frame; the answer, if it was a question. What does not decode is counted and dropped."""
        now = time.monotonic()
        try:
            message = metrics_decoder.decode(frame)
        except BadFrame:
            self._count_bad(1, now)
            return None
        if isinstance(message, Report):
            self._count_bad(self._store.take(message, now), now)
            return None
        if isinstance(message, MetricsQuery):
            return encode(MetricsAnswer(message.query, self._page.render()))
        assert isinstance(message, GaugesQuery)
        return encode(GaugesAnswer(message.query, [self._store.value(name, now) for name in message.names]))

    def log_stats(self) -> None:
        """Logs the line about the time since the last call, if there is anything to say."""
        line = self._line.line(time.monotonic())
        if line is not None:
            logger.info("%s", line)

    def _count_bad(self, number: int, now: float) -> None:
        if number:
            sample = Sample("lightllm_bad_frames_total", float(number), [self._process])
            self._store.take(Report(self._process, time.process_time(), [sample]), now)


def run(child: Child) -> None:
    """Serves until the supervisor says Stop."""
    hub = Hub(child.endpoint("metrics"))
    server = MetricServer(child.start.process, child.start.model_name)
    control, telemetry, poller = child.open_control(), Telemetry(child.start), Poller()
    poller.add(hub)
    poller.add(control)
    child.ready()
    settings = child.start.settings
    due = time.monotonic()
    log_due = due + settings.log_stats_interval if settings.log_stats else float("inf")
    while not isinstance(child.receive(0), Stop):
        while (received := hub.receive(0)) is not None:
            answer = server.answer(received[1])
            if answer is not None:
                hub.send(received[0], answer)
        now = time.monotonic()
        if now >= due:
            telemetry.heartbeat()
            telemetry.flush()
            due = now + REPORT_SECONDS
        if now >= log_due:
            server.log_stats()
            log_due = now + settings.log_stats_interval
        poller.wait(max(0, round((min(due, log_due) - now) * 1000)))
    telemetry.close()
    hub.close()
