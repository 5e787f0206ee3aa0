"""Figures about requests, for the metric server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightllm_rs.process.telemetry import Telemetry

if TYPE_CHECKING:
    from lightllm_rs.http.call import Call
    from lightllm_rs.http.errors import ApiError

REASONS = {400: "bad_request", 401: "unauthorized", 413: "body_too_large", 429: "queue_full", 503: "not_ready"}
"""`reason` of `lightllm_rejections_total` by status."""


class Observer:
    """Names the events of a request's life. Names of metrics are those of the catalogue."""

    def __init__(self, telemetry: Telemetry, process: str) -> None:
        self._telemetry = telemetry
        self._process = process
        self._bad_frames = 0

    def arrived(self) -> None:
        """A request to generate came in."""
        self._telemetry.add("request_count")

    def ignored_field(self) -> None:
        """A request had a field that nobody knows."""
        self._telemetry.add("lightllm_ignored_fields_total")

    def rejected(self, error: ApiError) -> None:
        """Any request was refused before it ran."""
        if error.status in REASONS:
            self._telemetry.add("lightllm_rejections_total", 1.0, (REASONS[error.status],))

    def refused(self) -> None:
        """A request to generate was refused before it ran."""
        self._telemetry.add("request_failure")

    def left(self) -> None:
        """A client left before its answer was complete."""
        self._telemetry.add("lightllm_disconnects_total")

    def latencies(self, first_token: Sequence[float], inter_token: Sequence[float]) -> None:
        """Seconds from requests' arrivals to their first tokens, and between two steps of a request."""
        self._telemetry.observe_all("vllm:time_to_first_token_seconds", first_token)
        self._telemetry.observe_all("request_first_token_duration", first_token)
        self._telemetry.observe_all("vllm:inter_token_latency_seconds", inter_token)

    def submitted(self, call: Call) -> None:
        """A request was sent to the router."""
        telemetry = self._telemetry
        telemetry.observe("request_validation_duration", call.submitted - call.began)
        for prompt in call.prompts:
            telemetry.observe("request_input_length", float(len(prompt.ids)))
            telemetry.observe("request_max_new_tokens", float(prompt.max_tokens))

    def images_fetched(self, seconds: float) -> None:
        """All images of a request have come, and are known by size."""
        self._telemetry.observe("lightllm_image_fetch_seconds", seconds)

    def images_ready(self, seconds: float) -> None:
        """All images of a request are ready, so long after they were asked for."""
        self._telemetry.observe("lightllm_image_wait_seconds", seconds)

    def image_resend(self) -> None:
        """A request is sent again since its images were lost."""
        self._telemetry.add("lightllm_image_resends_total")

    def ended(self, call: Call, now: float) -> None:
        """A request that was sent to the router is over, at `time.perf_counter()` `now`."""
        telemetry = self._telemetry
        if call.gone:
            telemetry.add("lightllm_disconnects_total")
        if call.gone or call.error is not None or not call.done:
            telemetry.add("request_failure")
            return
        telemetry.add("request_success")
        telemetry.observe("vllm:e2e_request_latency_seconds", now - call.began)
        telemetry.observe("request_duration", now - call.began)
        telemetry.observe("request_inference_duration", now - call.submitted)
        for choice in call.choices:
            telemetry.add("vllm:request_success_total", 1.0, (choice.output.finish or "length",))
            tokens = choice.output.tokens
            telemetry.observe("request_generated_tokens", float(tokens))
            if tokens:
                mean = (choice.output.last_at - call.submitted) / tokens
                telemetry.observe("request_mean_time_per_token_duration", mean)

    def tick(self, bad_frames: int) -> None:
        """Called about once a second: sends what was collected, and that this process lives."""
        if bad_frames > self._bad_frames:
            self._telemetry.add("lightllm_bad_frames_total", bad_frames - self._bad_frames, (self._process,))
            self._bad_frames = bad_frames
        self._telemetry.heartbeat()
        self._telemetry.flush()

    def close(self) -> None:
        """Sends the rest."""
        self._telemetry.flush()
        self._telemetry.close()
