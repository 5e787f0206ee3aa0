"""/openapi.json is true: requests made from it never meet a 5xx, and the answers are as it says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from helpers.http_process import HttpProcess

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]

ROUTES = [
    "POST /v1/completions",
    "POST /v1/chat/completions",
    "POST /generate",
    "POST /generate_stream",
    "POST /tokens",
    "POST /tokenize",
    "POST /detokenize",
    "GET /health",
    "GET /healthz",
    "GET /ready",
    "GET /readiness",
    "GET /live",
    "GET /liveness",
    "GET /metrics",
    "GET /version",
    "GET /get_model_name",
    "GET /token_load",
    "GET /v1/models",
    "GET /v1/models/{model}",
]


def operations(client: httpx.Client) -> dict[str, Any]:
    """The routes of /openapi.json by method and path."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    schema.config.update(base_url=str(client.base_url))
    found = [result.ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_every_route_is_described(process: HttpProcess, client: httpx.Client) -> None:
    assert sorted(operations(client)) == sorted(ROUTES)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("route", ROUTES)
def test_the_schema_is_true(process: HttpProcess, client: httpx.Client, route: str, mode: GenerationMode) -> None:
    operation = operations(client)[route]
    if mode is GenerationMode.NEGATIVE and not operation.body:
        return  # nothing of it can be wrong

    @settings(
        max_examples=40 if operation.body else 5,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    check()
