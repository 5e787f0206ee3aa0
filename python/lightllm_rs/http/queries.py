"""Questions to the health and the metric server."""

from __future__ import annotations

import asyncio
import os
from typing import TypeVar

import msgspec

from lightllm_rs.messages import telemetry as wire
from lightllm_rs.messages.frames import BadFrame, encode
from lightllm_rs.messages.sockets import AsyncDealer, endpoint

HEALTH_SECONDS = 1.0
"""A health server that takes longer is being restarted; who probes does not wait for long either."""

METRICS_SECONDS = 5.0
"""A scrape that is late on a busy machine is better than none: Prometheus waits for 10 s."""

Answer = TypeVar("Answer", wire.HealthAnswer, wire.MetricsAnswer, wire.GaugesAnswer)


class Queries:
    """Asks, and waits for the answer with the same number. Lives on one event loop.

    Args:
        run_dir: folder of the sockets.
        process: name of this HTTP process.
    """

    def __init__(self, run_dir: str, process: str) -> None:
        identity = f"{process}.{os.getpid()}"
        self._waiting: dict[int, asyncio.Future[wire.TelemetryAnswer]] = {}
        self._next = 1
        self._health = AsyncDealer(endpoint(run_dir, "health"), identity, self._on_frame)
        self._metrics = AsyncDealer(endpoint(run_dir, "metrics"), identity, self._on_frame)

    async def health(self) -> wire.HealthAnswer | None:
        """What the health server thinks, or None if it does not answer."""
        return await self._ask(self._health, wire.HealthQuery(self._number()), wire.HealthAnswer, HEALTH_SECONDS)

    async def metrics(self) -> str | None:
        """The page of all metrics."""
        question = wire.MetricsQuery(self._number())
        answer = await self._ask(self._metrics, question, wire.MetricsAnswer, METRICS_SECONDS)
        return None if answer is None else answer.text

    async def gauges(self, names: list[str]) -> list[float] | None:
        """Present values of some metrics."""
        question = wire.GaugesQuery(self._number(), names)
        answer = await self._ask(self._metrics, question, wire.GaugesAnswer, METRICS_SECONDS)
        return None if answer is None else answer.values

    def _number(self) -> int:
        self._next += 1
        return self._next

    async def _ask(
        self, dealer: AsyncDealer, question: msgspec.Struct, kind: type[Answer], patience: float
    ) -> Answer | None:
        number = self._next
        future: asyncio.Future[wire.TelemetryAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        dealer.send(encode(question))
        try:
            answer = await asyncio.wait_for(future, patience)
        except asyncio.TimeoutError:
            return None
        finally:
            self._waiting.pop(number, None)
        return answer if isinstance(answer, kind) else None

    def _on_frame(self, frame: bytes) -> None:
        try:
            answer = wire.answer_decoder.decode(frame)
        except BadFrame:
            return  # the question times out
        future = self._waiting.get(answer.query)
        if future is not None and not future.done():
            future.set_result(answer)

    def close(self) -> None:
        """Closes the sockets."""
        self._health.close()
        self._metrics.close()
