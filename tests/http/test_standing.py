"""Priority, deadline, tenant and class of a request, and its choices, on their way to the router."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.http_process import HttpProcess, http_process
from helpers.router_scripts import fails
from lightllm_rs.messages import requests

ROUTES = ("/v1/completions", "/v1/chat/completions", "/generate")
HI = [{"role": "user", "content": "Hi"}]


def ask(client: httpx.Client, path: str, **fields: Any) -> httpx.Response:
    """A small request with `fields` where that route has them."""
    if path == "/generate":
        return client.post(path, json={"inputs": "Hi", "parameters": {"max_new_tokens": 3, **fields}})
    body = {"messages": HI} if "chat" in path else {"prompt": "Hi"}
    return client.post(path, json={**body, "max_tokens": 3, **fields})


def sent(process: HttpProcess, client: httpx.Client, path: str, **fields: Any) -> requests.Add:
    """What the router was told of it."""
    process.frames.clear()
    response = ask(client, path, **fields)
    assert response.status_code == 200, response.text
    [add] = process.frames
    return add


@pytest.mark.parametrize("path", ROUTES)
def test_what_is_said_reaches_the_router(process: HttpProcess, client: httpx.Client, path: str) -> None:
    plain = sent(process, client, path)
    assert (plain.priority, plain.deadline_ms, plain.tenant, plain.class_label, plain.siblings) == (0, 0, 0, 0, [])
    add = sent(process, client, path, priority=-7, deadline_ms=60_000, user="ann", request_class="summary")
    assert add.priority == -7
    assert 0 < add.deadline_ms <= 60_000, "what has passed since the arrival is taken off"
    again = sent(process, client, path, user="ann", request_class="summary")
    other = sent(process, client, path, user="bob", request_class="chat")
    assert add.tenant == again.tenant != other.tenant
    assert add.class_label == again.class_label != other.class_label
    assert 0 not in (add.tenant, other.tenant, add.class_label, other.class_label)
    assert sent(process, client, path, deadline_ms=0.001).deadline_ms == 1, "never 0, which is none"


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 1001),
        ("priority", -1001),
        ("priority", 1.5),
        ("priority", "high"),
        ("priority", True),
        ("deadline_ms", 0),
        ("deadline_ms", -5),
        ("deadline_ms", "5"),
        ("deadline_ms", 1e12),
        ("user", 5),
        ("user", "x" * 257),
        ("request_class", ""),
        ("request_class", "x" * 65),
        ("request_class", 5),
    ],
)
def test_what_makes_no_sense_is_a_400_that_names_it(
    process: HttpProcess, client: httpx.Client, path: str, field: str, value: Any
) -> None:
    response = ask(client, path, **{field: value})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == (f"parameters.{field}" if path == "/generate" else field)


def test_the_fields_are_in_the_schema(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("CompletionRequest", "ChatCompletionRequest", "NativeParameters"):
        assert {"priority", "deadline_ms", "user", "request_class"} <= set(schemas[name]["properties"])


def test_choices_travel_in_one_frame_with_seeds_of_their_own(process: HttpProcess, client: httpx.Client) -> None:
    response = client.post("/v1/completions", json={"prompt": ["Hi", "Ho"], "n": 3, "seed": 2**64 - 1})
    assert len(response.json()["choices"]) == 6
    first, second = process.frames
    for add in (first, second):
        assert add.sampling.seed == 2**64 - 1
        assert [sibling.seed for sibling in add.siblings] == [0, 1]
    ids = [first.request, *(sibling.request for sibling in first.siblings)]
    ids += [second.request, *(sibling.request for sibling in second.siblings)]
    assert len(set(ids)) == 6


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_late_request_is_429(process: HttpProcess, client: httpx.Client, path: str, stream: bool) -> None:
    process.script = fails("deadline", "the deadline passes before the first token could be there: retry in 7 s", 7)
    if stream and path == "/generate":
        response = client.post("/generate_stream", json={"inputs": "Hi"})
    else:
        response = ask(client, path, **({"stream": True} if stream else {}))
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "deadline_missed")


def test_keys_are_tenants_and_stay_secret(tiny_folder: Path) -> None:
    tenants = {}
    with (
        tempfile.TemporaryDirectory(prefix="http-") as run_dir,
        http_process(Path(run_dir), tiny_folder, api_key="open", admin_api_key="root") as process,
    ):
        for key in ("open", "root"):
            with httpx.Client(base_url=process.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
                for user in ("", "ann"):
                    add = sent(process, client, "/v1/completions", **({"user": user} if user else {}))
                    tenants[key, user] = add.tenant
    assert 0 not in tenants.values()
    assert len(set(tenants.values())) == 4
