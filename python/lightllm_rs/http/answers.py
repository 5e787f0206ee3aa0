"""What all generating routes do before and after their own part."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from lightllm_rs.http.auth import KEY_IN_SCOPE
from lightllm_rs.http.body import ClientGone
from lightllm_rs.http.call import Call
from lightllm_rs.http.errors import ApiError
from lightllm_rs.http.service import Service


def service_of(request: Request) -> Service:
    """The state of this process."""
    service: Service = request.app.state.service
    return service


def key_of(request: Request) -> str:
    """Name of the key that let the request in; "" where none is needed."""
    name: str = request.scope.get(KEY_IN_SCOPE, "")
    return name


def json_response(value: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def new_id(prefix: str) -> str:
    """An id of an answer, such as "chatcmpl-3f0c…"."""
    return f"{prefix}-{secrets.token_hex(12)}"


@contextmanager
def counted(service: Service) -> Iterator[float]:
    """A request to generate: counts it and, if it is refused before it runs, that. Yields when it began."""
    service.observer.arrived()
    before = time.perf_counter()
    try:
        yield before
    except ApiError as error:
        if not error.ran:
            service.observer.refused()
        raise
    except ClientGone as gone:
        if not gone.ran:
            service.observer.refused()
            service.observer.left()
        raise


def check_model(service: Service, model: str | None) -> None:
    """Refuses the name of another model."""
    if model is not None and model != service.model_name:
        raise ApiError(
            404,
            f"the model {model[:200]!r} does not exist: this server serves {service.model_name!r}",
            param="model",
            code="model_not_found",
        )


def usage_of(call: Call) -> dict[str, Any]:
    """Token counts of an answer."""
    prompt, output = call.prompt_tokens, call.output_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": call.cached_tokens},
    }
