"""The ASGI application: routes, errors in one shape, and the door in front."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from lightllm_rs import __version__
from lightllm_rs.http.body import ClientGone
from lightllm_rs.http.door import CLIENT_LEFT, Door
from lightllm_rs.http.errors import ApiError, internal
from lightllm_rs.http.openapi import describe
from lightllm_rs.http.routes import chat, completions, native, system, tokens
from lightllm_rs.http.service import Service


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    if not error.ran:
        request.app.state.service.observer.rejected(error)
    return error.response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path[:200]}"
    if error.status_code == 404:
        return ApiError(404, f"there is no route {what}", code="not_found").response()
    if error.status_code == 405:
        return ApiError(405, f"{what} is not allowed", code="method_not_allowed").response(error.headers)
    return ApiError(error.status_code, str(error.detail), code="invalid_request").response(error.headers)


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)  # nobody reads it; the log does


async def _internal(request: Request, error: Exception) -> Response:
    return internal().response()  # Starlette raises the error again, and uvicorn logs it


def create_app(service: Service) -> ASGIApp:
    """The application of one HTTP process."""
    app = FastAPI(title="lightllm-rs", version=__version__, redoc_url=None, redirect_slashes=False)
    app.state.service = service
    for routes in (completions, chat, native, tokens, system):
        app.include_router(routes.router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(ClientGone, _client_gone)
    app.add_exception_handler(Exception, _internal)
    describe(app)
    outer: ASGIApp = Door(app, service)
    if service.settings.allowed_origins:
        outer = CORSMiddleware(
            outer,
            allow_origins=service.settings.allowed_origins,
            allow_methods=["GET", "POST", "HEAD", "OPTIONS"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["X-Request-Id", "Retry-After"],
        )
    return outer
