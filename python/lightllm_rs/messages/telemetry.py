"""What processes tell the health and the metric server, and what the HTTP processes ask them."""

from __future__ import annotations

import msgspec

from lightllm_rs.messages.frames import FrameDecoder


class Heartbeat(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="heartbeat"):
    """Sent once a second by every process to the health server, by an idle router every other second.

    Attributes:
        process: "router", "backend-0", "http-0", ...
        busy: work is in flight (router and visual servers; the others say False).
        progress: any number that changes when work is done (steps that ended, parts of the work for images).
        full: the queue refuses new requests (router only).
    """

    process: str
    busy: bool = False
    progress: int = 0
    full: bool = False


class ServiceState(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="state"):
    """From the supervisor: "loading", "serving", "draining" or "down".

    Attributes:
        images: why no image can be encoded; "" if one can, and for a model of text.
    """

    state: str
    images: str = ""


class HealthQuery(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="health?"):
    """From an HTTP process; `query` comes back in the answer."""

    query: int


HealthMessage = Heartbeat | ServiceState | HealthQuery


class HealthAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="health"):
    """`reason` says in one line why not, when not; of a service that is both, what of it does not work."""

    query: int
    healthy: bool
    ready: bool
    reason: str = ""


class Sample(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One value: the present value of a gauge, or what a counter grew by since the last report.

    Attributes:
        name: as declared in the metric server's catalogue.
        labels: label values in the catalogue's order.
    """

    name: str
    value: float
    labels: list[str] = []


class Observations(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Values of a histogram since the last report, in the histogram's unit."""

    name: str
    values: list[float]
    labels: list[str] = []


class Report(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="report"):
    """Sent once a second, and when work ends, by every process to the metric server; less often by an idle router."""

    process: str
    cpu_seconds: float
    samples: list[Sample] = []
    observations: list[Observations] = []


class MetricsQuery(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="metrics?"):
    """From an HTTP process."""

    query: int


class GaugesQuery(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="gauges?"):
    """From an HTTP process: present values of some gauges or counters (summed over processes), for /token_load."""

    query: int
    names: list[str]


MetricsMessage = Report | MetricsQuery | GaugesQuery


class MetricsAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="metrics"):
    """The page in Prometheus' text format."""

    query: int
    text: str


class GaugesAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="gauges"):
    """One value for each name asked for; 0 where nothing was reported yet."""

    query: int
    values: list[float]


TelemetryAnswer = HealthAnswer | MetricsAnswer | GaugesAnswer

health_decoder: FrameDecoder[HealthMessage] = FrameDecoder(HealthMessage)
metrics_decoder: FrameDecoder[MetricsMessage] = FrameDecoder(MetricsMessage)
answer_decoder: FrameDecoder[TelemetryAnswer] = FrameDecoder(TelemetryAnswer)
