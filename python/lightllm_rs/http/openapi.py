"""/openapi.json: the routes read their bodies themselves, so what they take and answer is written down here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lightllm_rs.http.auth import PUBLIC
from lightllm_rs.http.schemas.chat import ChatCompletionRequest
from lightllm_rs.http.schemas.completions import CompletionRequest
from lightllm_rs.http.schemas.native import GenerateRequest, TokensRequest
from lightllm_rs.http.schemas.tokens import DetokenizeRequest, TokenizeRequest

BODIES: dict[str, type[BaseModel]] = {
    "/v1/completions": CompletionRequest,
    "/v1/chat/completions": ChatCompletionRequest,
    "/generate": GenerateRequest,
    "/generate_stream": GenerateRequest,
    "/tokens": TokensRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
}
"""Body of each route that takes one."""

STREAMS = {"/v1/completions": "some", "/v1/chat/completions": "some", "/generate_stream": "all"}
TEXTS = {*PUBLIC, "/metrics"}

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}

MEANINGS = {
    "400": "The request is wrong; the message names the field.",
    "401": "No key, or a wrong one.",
    "404": "There is no such model.",
    "413": "The body is too large.",
    "429": "The queue is full, or the first token would come after the deadline.",
    "500": "The server failed; its log says why.",
    "503": "Not ready, overloaded or shutting down.",
}


def _error(status: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": MEANINGS[status],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if status in ("429", "503"):
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return answer


def _operation(path: str, operation: dict[str, Any]) -> None:
    """Completes what FastAPI wrote about one route."""
    text = {"text/plain": {"schema": {"type": "string"}}}
    answers: dict[str, Any] = {"200": {"description": "The answer."}}
    if path in TEXTS:
        answers["200"]["content"] = text
    else:
        content = {} if STREAMS.get(path) == "all" else {"application/json": {"schema": {"type": "object"}}}
        if path in STREAMS:
            content["text/event-stream"] = {}
        answers["200"]["content"] = content
    if path in PUBLIC:
        answers["503"] = {"description": MEANINGS["503"], "content": text}
        operation["security"] = []
    else:
        statuses = ["401", "500", "503"]
        if path in BODIES:
            name = BODIES[path].__name__
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
            }
            statuses += ["400", "404", "413", "429"]
        elif "{model" in path:
            statuses.append("404")
        answers.update({status: _error(status) for status in sorted(statuses)})
    operation["responses"] = answers


def describe(app: FastAPI) -> None:
    """Makes `app` answer /openapi.json with the whole truth."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    _, models = models_json_schema(
        [(model, "validation") for model in set(BODIES.values())], ref_template="#/components/schemas/{model}"
    )
    components = schema.setdefault("components", {})
    components["schemas"] = {**models["$defs"], "Error": ERROR}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{}, {"key": []}]
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            _operation(path, operation)
    return schema
