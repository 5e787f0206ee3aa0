"""Requests that must be refused."""

from __future__ import annotations

import json
from typing import Any

import httpx

JSON = {"Content-Type": "application/json"}
CHAT, COMPLETIONS, GENERATE = "/v1/chat/completions", "/v1/completions", "/generate"


def refused(client: httpx.Client, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    """The error object of a request that must be refused; the server must serve on."""
    if isinstance(body, bytes):
        response = client.post(path, content=body, headers=JSON)
    else:
        response = client.post(path, content=json.dumps(body).encode(), headers=JSON)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert client.post(COMPLETIONS, json={"prompt": "Hi", "max_tokens": 1}).status_code == 200
    return dict(error)
