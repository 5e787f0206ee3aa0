"""Health, metrics, models: what operators and load balancers ask."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lightllm_rs import __version__
from lightllm_rs.http.answers import check_model, json_response, service_of
from lightllm_rs.http.errors import RETRY_SECONDS, unavailable
from lightllm_rs.http.service import Service

router = APIRouter()

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LOAD_GAUGES = [
    "lightllm_pages_running",
    "lightllm_pages_total",
    "batch_current_max_tokens",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
]


def _word(word: str, ok: bool) -> Response:
    headers = {"Cache-Control": "no-store"} if ok else {"Cache-Control": "no-store", "Retry-After": str(RETRY_SECONDS)}
    return PlainTextResponse(word, 200 if ok else 503, headers)


@router.head("/live", include_in_schema=False)
@router.head("/liveness", include_in_schema=False)
@router.get("/liveness")
@router.get("/live")
async def live(request: Request) -> Response:
    """This process answers."""
    return _word("ok", True)


@router.head("/health", include_in_schema=False)
@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
@router.get("/health")
async def health(request: Request) -> Response:
    """Work in flight makes progress; "degraded" where text is served and images are not."""
    answer = await service_of(request).queries.health()
    if answer is None:
        return _word("unknown", False)
    if not answer.healthy:
        return _word("unhealthy", False)
    return _word("degraded" if answer.ready and answer.reason else "ok", True)


@router.head("/ready", include_in_schema=False)
@router.head("/readiness", include_in_schema=False)
@router.get("/readiness")
@router.get("/ready")
async def ready(request: Request) -> Response:
    """New requests are taken."""
    service = service_of(request)
    if service.draining:
        return _word("draining", False)
    if service.engine.limits is None:
        return _word("loading", False)
    answer = await service.queries.health()
    # Without an answer the health server is being started again, and what this process knows has to do.
    return _word("ok", True) if answer is None or answer.ready else _word("busy", False)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """All metrics in Prometheus' text format."""
    text = await service_of(request).queries.metrics()
    if text is None:
        raise unavailable("the metric server does not answer", "no_metrics")
    return Response(text, media_type=METRICS_TYPE)


@router.get("/version")
async def version(request: Request) -> Response:
    """Version of this server."""
    return json_response({"version": __version__})


@router.get("/get_model_name")
async def get_model_name(request: Request) -> Response:
    """Name of the served model."""
    return json_response({"model_name": service_of(request).model_name})


def _model(service: Service) -> dict[str, object]:
    limits = service.engine.limits
    return {
        "id": service.model_name,
        "object": "model",
        "created": service.started,
        "owned_by": "lightllm-rs",
        "max_model_len": limits.context if limits is not None else None,
    }


@router.get("/v1/models")
async def models(request: Request) -> Response:
    """The served model, in a list."""
    return json_response({"object": "list", "data": [_model(service_of(request))]})


@router.get("/v1/models/{model:path}")
async def model(request: Request, model: str) -> Response:
    """The served model."""
    service = service_of(request)
    check_model(service, model)
    return json_response(_model(service))


@router.get("/token_load")
async def token_load(request: Request) -> Response:
    """How full the KV cache is, as parts of 1: now, and if all running requests use what they may."""
    values = await service_of(request).queries.gauges(LOAD_GAUGES)
    if values is None:
        raise unavailable("the metric server does not answer", "no_metrics")
    pages, total, most, running, waiting = values
    limits = service_of(request).engine.ready()
    return json_response(
        {
            "current_load": pages / total if total else 0.0,
            "logical_max_load": most / (limits.pages * limits.page_size),
            "dynamic_max_load": most / (limits.pages * limits.page_size),
            "running_requests": int(running),
            "waiting_requests": int(waiting),
        }
    )
