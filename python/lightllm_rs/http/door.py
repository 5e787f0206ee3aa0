"""The outermost layer: request ids, keys, draining, and one log line for each request."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightllm_rs.http.access_log import NAME
from lightllm_rs.http.auth import KEY_IN_SCOPE, PUBLIC, Keys
from lightllm_rs.http.errors import ApiError, unavailable
from lightllm_rs.http.service import Service
from lightllm_rs.http.upload import Upload

log = logging.getLogger(NAME)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_UNREADABLE = re.compile(r"[^\x21-\x7e]")
CLIENT_LEFT = 499


class Door:
    """Lets requests in.

    Args:
        app: the routes.
        service: the state of this process.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._keys = Keys(service.settings.api_key, service.settings.admin_api_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as an ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        given = authorization = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"authorization":
                authorization = value
        known = given is not None and _REQUEST_ID.fullmatch(given)
        request_id: bytes = given if given is not None and known else secrets.token_hex(16).encode()
        upload = Upload(scope, receive)
        receive = upload.receive
        closing = False
        status = CLIENT_LEFT  # unless an answer begins
        ended = False

        async def answer(message: Message) -> None:
            nonlocal status, ended, closing
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], (b"x-request-id", request_id)]
                if status >= 400 and upload.unwanted:
                    closing = True
                    headers = [field for field in headers if field[0] != b"connection"] + [(b"connection", b"close")]
                message = {**message, "headers": headers}
            elif not message.get("more_body", False):
                ended = True
                if closing:
                    await send({**message, "more_body": True})
                    await upload.linger()
                    message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        public = scope["path"] in PUBLIC
        self._service.enter(public)
        try:
            try:
                scope[KEY_IN_SCOPE] = self._keys.check(scope["path"], authorization)
                if self._service.draining and not public:
                    raise unavailable("the server is shutting down", "draining")
            except ApiError as error:
                self._service.observer.rejected(error)
                headers = {"Connection": "close"} if error.code == "draining" else None
                await error.response(headers)(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        finally:
            self._service.leave(public)
            if log.isEnabledFor(logging.INFO):
                log.log(
                    logging.DEBUG if public else logging.INFO,
                    "%s %s %d %.1f ms id=%s",
                    scope["method"],
                    _UNREADABLE.sub("?", scope["path"])[:200],
                    status if ended else CLIENT_LEFT,
                    (time.perf_counter() - began) * 1e3,
                    request_id.decode(),
                )
