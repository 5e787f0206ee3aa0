"""Errors that callers see: one shape, and one status for each kind."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from lightllm_rs.messages.images import IMAGE_GONE

RETRY_SECONDS = 2
"""`Retry-After` of a 503: what a restart of the engine or a change of servers behind a balancer takes at least."""

MAX_MESSAGE = 1000

IMAGES_LOST = "images_lost"
"""`code` of a request whose images are not in the image cache any more."""


class ApiError(Exception):
    """A request that is refused or failed.

    Args:
        status: of the HTTP answer.
        message: for the caller; what to do.
        param: the field of the request that is at fault.
        code: short name for programs.
        retry_after: seconds, for 429 and 503.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message[:MAX_MESSAGE]
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.ran = False  # it had been sent to the router

    def body(self) -> bytes:
        """The error object as JSON."""
        error = {"message": self.message, "type": KINDS.get(self.status, "invalid_request_error")}
        return msgspec.json.encode({"error": {**error, "param": self.param, "code": self.code}})

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """The error as an HTTP answer."""
        fields: dict[str, str] = dict(headers or {})
        if self.retry_after:
            fields["Retry-After"] = str(self.retry_after)
        if self.status == 401:
            fields["WWW-Authenticate"] = "Bearer"
        return Response(self.body(), self.status, fields, "application/json")


KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}
"""`type` of the error object by status."""


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The caller's fault: 400."""
    return ApiError(400, message, param=param, code=code)


def unavailable(message: str, code: str = "not_ready", retry_after: int = RETRY_SECONDS) -> ApiError:
    """Not now: 503 with `Retry-After`."""
    return ApiError(503, message, code=code, retry_after=retry_after)


def images_unavailable(seconds: float) -> ApiError:
    """No image can be encoded, and the next try is in so many seconds: 503."""
    wait = max(RETRY_SECONDS, math.ceil(seconds) + 1)  # a start takes some time too
    message = f"images are unavailable at the moment: send the request again in {wait} s, or without images"
    return unavailable(message, "images_unavailable", wait)


def images_lost() -> ApiError:
    """The image cache has an image of the request no more: 503."""
    return unavailable("the images of the request were lost: send it again", IMAGES_LOST)


def internal() -> ApiError:
    """Our fault: 500. The log knows more, the caller does not need to."""
    return ApiError(500, "the server failed to handle this request; its log says why", code="internal_error")


def of_failure(kind: str, message: str, retry_after: int) -> ApiError:
    """The error for a `Failed` frame of the router."""
    if kind == "queue_full":
        return ApiError(429, message, code="queue_full", retry_after=max(1, retry_after))
    if kind == "deadline":
        return ApiError(429, message, code="deadline_missed", retry_after=max(1, retry_after))
    if kind in ("context_exceeded", "too_large"):
        return ApiError(400, message, code="context_length_exceeded")
    if kind == "invalid":
        return ApiError(400, message, code="invalid_value")
    if kind == "overrun":
        return ApiError(503, message, code="overrun", retry_after=RETRY_SECONDS)
    if kind == "backend" and message == IMAGE_GONE:
        return images_lost()
    return ApiError(500, message, code="backend_error")
