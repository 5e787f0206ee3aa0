"""Reading a request's body: bounded while it comes in, then checked against its schema."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from lightllm_rs.http.errors import ApiError, bad_request, unavailable
from lightllm_rs.http.schemas.fields import Body
from lightllm_rs.http.service import Service
from lightllm_rs.http.upload import SMALL_BYTES

INLINE_BYTES = 256 << 10
"""Longer bodies are checked in a thread, so that the other requests go on."""

STILL_SECONDS = 30.0
"""An upload that stands still for so long is given up."""

BODY_SECONDS = 60.0
BODY_RATE = 64 << 10
"""A body may take so many seconds, and one more for each so many bytes that have come."""

LARGEST_AT_ONCE = 16
"""Bodies that are coming in at the same time may be so many times the longest one together; small ones always pass."""

Parsed = TypeVar("Parsed", bound=Body)


class ClientGone(Exception):
    """The client left before an answer could begin. `ran`: the request had been sent to the router."""

    def __init__(self, ran: bool = False) -> None:
        super().__init__()
        self.ran = ran


async def read_body(request: Request, service: Service) -> bytes:
    """The body. Raises ApiError 413 if it is too long, 503 if too much is coming in at once, or ClientGone."""
    limit = service.settings.max_body_bytes
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    began = time.monotonic()
    try:
        while True:
            left = began + BODY_SECONDS + size / BODY_RATE - time.monotonic()
            try:
                message = await asyncio.wait_for(request.receive(), max(0.0, min(STILL_SECONDS, left)))
            except asyncio.TimeoutError:
                raise bad_request("the body comes in too slowly", code="body_late") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            service.incoming += len(part)
            if size > limit:
                raise _too_large(limit)
            if size > SMALL_BYTES and service.incoming > LARGEST_AT_ONCE * limit:
                raise unavailable("too many large requests are coming in at once", "overloaded")
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
    finally:
        service.incoming -= size


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body is larger than {limit} bytes", code="body_too_large")


async def parse_body(request: Request, service: Service, schema: type[Parsed]) -> Parsed:
    """The body as `schema`. Raises ApiError 400 that names the first field at fault."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise bad_request("the body must be JSON, with Content-Type: application/json", code="content_type")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise bad_request("the body must not be compressed: send it without Content-Encoding", code="content_encoding")
    data = await read_body(request, service)
    try:
        if len(data) <= INLINE_BYTES:
            body = schema.model_validate_json(data)
        else:
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(service.threads, schema.model_validate_json, data)
    except ValidationError as error:
        raise _of_validation(error) from None
    check_extras(body, service)
    return body


def _of_validation(error: ValidationError) -> ApiError:
    first: Any = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return bad_request(f"the body is not valid JSON: {message.removeprefix('Invalid JSON: ')}", code="invalid_json")
    where = ".".join(str(part) for part in first["loc"])
    if not where:
        whole = message if first["type"] == "value_error" else "the body must be a JSON object"
        return bad_request(whole, code="invalid_value")
    if first["type"] == "too_short":
        return bad_request(f"{where} must not be empty", where, "invalid_value")
    if first["type"] == "missing":
        return bad_request(f"{where} is missing", where, "missing_field")
    return bad_request(f"{where}: {message[0].lower() + message[1:]}", where, "invalid_value")


def check_extras(body: Body, service: Service, prefix: str = "") -> None:
    """Refuses fields that would have an effect elsewhere and have none here; counts those that nobody knows."""
    for name, value in (body.model_extra or {}).items():
        if name in body.UNSUPPORTED:
            if not any(value == neutral and type(value) is type(neutral) for neutral in body.UNSUPPORTED[name]):
                raise bad_request(f"{prefix}{name} is not supported by this server", prefix + name, "unsupported")
        elif name not in body.IGNORED:
            service.ignored_field()
