"""Health, models, metrics, keys, request ids."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from helpers.http_process import HttpProcess, http_process
from helpers.router_scripts import fails
from lightllm_rs.messages.control import Drain, Drained, Stop
from lightllm_rs.messages.telemetry import HealthAnswer

HEALTH = ["/health", "/healthz", "/ready", "/readiness", "/live", "/liveness"]


def said(client: httpx.Client, path: str) -> tuple[int, str]:
    """The status and the text of an answer."""
    response = client.get(path)
    return response.status_code, response.text


@pytest.mark.parametrize("path", HEALTH)
def test_one_word(process: HttpProcess, client: httpx.Client, path: str) -> None:
    # Where the health server's answer is late, health is "unknown".
    process.wait(lambda: said(client, path) == (200, "ok"))
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")


def test_health_follows_the_health_server(process: HttpProcess, client: httpx.Client) -> None:
    process.health = HealthAnswer(0, healthy=False, ready=False, reason="no step for 60 s")
    for path, word in (("/health", "unhealthy"), ("/ready", "busy")):
        process.wait(lambda path=path, word=word: said(client, path) == (503, word))
    assert client.get("/live").status_code == 200
    process.health = HealthAnswer(0, healthy=True, ready=True, reason="no images")
    assert (client.get("/health").status_code, client.get("/health").text) == (200, "degraded")
    assert (client.get("/ready").status_code, client.get("/ready").text) == (200, "ok")
    process.health = HealthAnswer(0, healthy=True, ready=False, reason="the queue is full")
    assert (client.get("/health").status_code, client.get("/health").text) == (200, "ok")
    process.answers_health = False
    assert (client.get("/health").status_code, client.get("/health").text) == (503, "unknown")
    assert client.get("/ready").status_code == 200, "the engine is up, and that is all that this process knows"


def test_models(process: HttpProcess, client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["tiny"]
    assert client.get("/v1/models/tiny").json() == listed["data"][0]
    assert client.get("/v1/models/a/b").status_code == 404
    assert client.get("/get_model_name").json() == {"model_name": "tiny"}
    assert set(client.get("/version").json()) == {"version"}


def test_metrics_and_load(process: HttpProcess, client: httpx.Client) -> None:
    response = client.get("/metrics")
    assert response.text == "# a page\n"
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    load = client.get("/token_load").json()
    assert load["current_load"] == 1 / 2
    assert load["logical_max_load"] == 3 / (64 * 16)
    assert (load["running_requests"], load["waiting_requests"]) == (4, 5)


def test_figures_of_requests(run_dir: Path, tiny_folder: Path) -> None:
    with (
        http_process(run_dir, tiny_folder) as process,
        httpx.Client(base_url=process.url, timeout=60) as client,
    ):
        assert client.post("/v1/completions", json={"prompt": "Hi", "n": 2}).status_code == 200
        assert client.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 2}).status_code == 200
        assert client.post("/v1/completions", json={"prompt": "Hi", "temperature": 9}).status_code == 400
        process.wait(lambda: process.counter("request_count") == 3, f"{process.counters}")
        process.wait(lambda: process.counter("request_success") == 2)
        process.wait(lambda: process.counter("request_failure") == 1)
        process.wait(lambda: process.counter("lightllm_rejections_total", "bad_request") == 1)
        process.wait(lambda: process.counter("vllm:request_success_total", "stop") == 2)
        process.wait(lambda: process.counter("vllm:request_success_total", "length") == 1)
        for name in (
            "vllm:time_to_first_token_seconds",
            "vllm:inter_token_latency_seconds",
            "vllm:e2e_request_latency_seconds",
            "request_duration",
            "request_validation_duration",
            "request_inference_duration",
            "request_first_token_duration",
            "request_mean_time_per_token_duration",
            "request_input_length",
            "request_generated_tokens",
            "request_max_new_tokens",
        ):
            assert process.observed[name], name
            assert all(value >= 0 for value in process.observed[name]), name


def test_request_ids(process: HttpProcess, client: httpx.Client) -> None:
    assert client.get("/live", headers={"X-Request-Id": "Abc-1._x"}).headers["x-request-id"] == "Abc-1._x"
    for bad in ("a b", "x" * 129, "ä".encode().decode("latin-1"), ""):
        echoed = client.get("/live", headers={"X-Request-Id": bad.encode("latin-1")}).headers["x-request-id"]
        assert echoed != bad
        assert len(echoed) == 32


def test_keys(run_dir: Path, tiny_folder: Path) -> None:
    with (
        http_process(run_dir, tiny_folder, api_key="secret", admin_api_key="root") as process,
        httpx.Client(base_url=process.url, timeout=60) as client,
    ):
        for path in HEALTH:
            assert client.get(path).status_code == 200
        schema = client.get("/openapi.json", headers={"Authorization": "Bearer secret"}).json()
        paths = [*schema["paths"], "/openapi.json", "/docs", "/nothing", "/v1/models/tiny", "/admin/x"]
        for path in paths:
            if path in HEALTH:
                continue
            for authorization in (None, "secret", "Bearer", "Bearer wrong", "Basic secret", "Bearer secre", "bearer"):
                headers = {} if authorization is None else {"Authorization": authorization}
                response = client.request("POST" if path.startswith("/v1/c") else "GET", path, headers=headers)
                assert response.status_code == 401, (path, authorization)
                assert response.headers["www-authenticate"] == "Bearer"
                assert response.json()["error"]["type"] == "authentication_error"
        for key in ("secret", "root"):
            assert client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert client.get("/admin/x", headers={"Authorization": "Bearer secret"}).status_code == 401
        assert client.get("/admin/x", headers={"Authorization": "Bearer root"}).status_code == 404


def test_without_an_admin_key_control_routes_are_closed(process: HttpProcess, client: httpx.Client) -> None:
    assert client.get("/admin/x").status_code == 401
    assert client.get("/admin/x", headers={"Authorization": "Bearer None"}).status_code == 401


def test_other_origins_are_shut_out_unless_allowed(
    process: HttpProcess, client: httpx.Client, run_dir: Path, tiny_folder: Path
) -> None:
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options("/v1/models", headers=asks).headers
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=asks).headers
    with (
        http_process(run_dir, tiny_folder, allowed_origins=("https://a.example",), api_key="k") as other,
        httpx.Client(base_url=other.url, timeout=60) as client_of_other,
    ):
        answer = client_of_other.options("/v1/models", headers=asks)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        refused = client_of_other.options("/v1/models", headers={**asks, "Origin": "https://b.example"})
        assert "access-control-allow-origin" not in refused.headers


def test_a_full_queue_is_429(process: HttpProcess, client: httpx.Client) -> None:
    process.script = fails("queue_full", "the queue is full", 3)
    for stream in (False, True):
        response = client.post("/v1/completions", json={"prompt": "Hi", "n": 2, "stream": stream})
        assert response.status_code == 429
        assert response.headers["retry-after"] == "3"
        assert response.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("context_exceeded", 400), ("too_large", 400), ("invalid", 400), ("backend", 500), ("overrun", 503)],
)
def test_other_failures(process: HttpProcess, client: httpx.Client, kind: str, status: int) -> None:
    process.script = fails(kind, "it went wrong")
    response = client.post("/v1/completions", json={"prompt": "Hi"})
    assert response.status_code == status
    assert response.json()["error"]["message"] == "it went wrong"


def test_frames_that_do_not_decode_are_counted_and_dropped(process: HttpProcess, client: httpx.Client) -> None:
    before = process.counter("lightllm_bad_frames_total", "http-0")
    for frame in (b"", b"\xff\xff", b"\x92\xa6output\x01", b"\x91\xa4what"):
        process.send_raw(frame)
    process.wait(lambda: process.counter("lightllm_bad_frames_total", "http-0") >= before + 4)
    assert client.post("/v1/completions", json={"prompt": "Hi"}).status_code == 200


def test_drain_and_stop(run_dir: Path, tiny_folder: Path) -> None:
    with (
        http_process(run_dir, tiny_folder) as process,
        httpx.Client(base_url=process.url, timeout=60) as client,
        httpx.Client(base_url=process.url, timeout=60) as other,
    ):
        process.pace = 0.02
        assert other.get("/live").status_code == 200
        with client.stream("POST", "/v1/completions", json={"prompt": "Hi", "stream": True}) as response:
            lines = response.iter_lines()
            next(lines)
            process.say(Drain())
            process.wait(lambda: refuses_connections(process), "it still accepts")
            assert not any(isinstance(message, Drained) for message in process.said)
            assert [line for line in lines if line][-1] == "data: [DONE]", "what runs is finished"
        process.wait(lambda: any(isinstance(message, Drained) for message in process.said))
        process.say(Stop())
        assert process.process.wait(60) == 0


def refuses_connections(process: HttpProcess) -> bool:
    try:
        with httpx.Client(base_url=process.url, timeout=60) as client:
            client.get("/live")
    except httpx.TransportError:
        return True
    return False


def test_tls(run_dir: Path, tiny_folder: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(certificate))
    with (
        http_process(run_dir, tiny_folder, ssl_keyfile=str(key), ssl_certfile=str(certificate)) as process,
        httpx.Client(base_url=process.url.replace("http:", "https:"), verify=context, timeout=60) as client,
    ):
        body = {"prompt": "Hi", "stream": True}
        assert client.post("/v1/completions", json=body).text.endswith("data: [DONE]\n\n")
