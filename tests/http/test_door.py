"""The outermost layer alone: what a request meets that came in just as the process began to drain."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx

from lightllm_rs.http.door import Door
from lightllm_rs.http.errors import ApiError
from lightllm_rs.settings import ServeSettings


class Service:
    """As much of a service as the door needs."""

    settings = ServeSettings(api_key="k")
    draining = True

    def __init__(self) -> None:
        self.rejections: list[int] = []
        self.active = 0
        self.observer = SimpleNamespace(rejected=self.rejected)

    def rejected(self, error: ApiError) -> None:
        self.rejections.append(error.status)

    def enter(self, public: bool) -> None:
        self.active += 1

    def leave(self, public: bool) -> None:
        self.active -= 1


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(service: Service, path: str, **headers: str) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(Door(app, service))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(once())


def test_a_draining_process_sends_new_requests_elsewhere() -> None:
    service = Service()
    response = ask(service, "/v1/models", Authorization="Bearer k")
    assert response.status_code == 503
    assert response.headers["connection"] == "close"
    assert response.headers["retry-after"] == "2"
    assert response.json()["error"]["code"] == "draining"
    assert ask(service, "/ready").status_code == 204, "questions about health are still answered"
    assert ask(service, "/v1/models").status_code == 401
    assert service.rejections == [503, 401]
    assert service.active == 0
