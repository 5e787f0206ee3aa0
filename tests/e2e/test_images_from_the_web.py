"""Images by URL: fetched by a real HTTP process from a server of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import openai
import pytest

from helpers.changed_service import changed_command
from helpers.running_service import RunningService
from helpers.seeing_service import image_part, make_seeing_folder, noise, png, text_part

PICTURE = png(noise(61, 47, 3))


class Web(BaseHTTPRequestHandler):
    """/cat.png is a picture, /away leads to it, /page is none, and nothing else is there."""

    def do_GET(self) -> None:
        found = {"/cat.png": (200, PICTURE), "/page": (200, b"<html>no</html>"), "/away": (302, b"")}
        status, body = found.get(self.path, (404, b"no"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/cat.png")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = make_seeing_folder(tmp_path_factory.mktemp("models") / "tiny-internvl", "internvl")
    base = tmp_path_factory.mktemp("w") / "r"
    base.mkdir()
    flags = ("--device", "cpu", "--mm-cache-size", "0.03", "--kv-cache-tokens", "8192", "--threads", "1")
    command = changed_command("http", "open_network_child.py", str(folder), *flags)
    with RunningService(command, base) as service:
        yield service.wait_ready()
        assert service.end() == 0
        service.assert_nothing_left()


def ask(url: str, *parts: object) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": [text_part("See "), *parts]}], "max_tokens": 4, "temperature": 0}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=200)


def by_url(address: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": address}}


def test_the_openai_client_names_a_picture_on_the_web(url: str, web: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        model = client.models.list().data[0].id
        content = [text_part("See "), by_url(f"{web}/cat.png")]
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": content}], max_tokens=4, temperature=0
        )
    same = ask(url, image_part(PICTURE))
    assert same.json()["choices"][0]["message"]["content"] == answer.choices[0].message.content
    assert same.json()["usage"]["prompt_tokens"] == answer.usage.prompt_tokens
    redirected = ask(url, by_url(f"{web}/away"))
    assert redirected.json()["choices"] == same.json()["choices"]


@pytest.mark.parametrize("path", ["/nothing", "/page"])
def test_what_is_no_picture_is_the_callers_fault(url: str, web: str, path: str) -> None:
    answer = ask(url, image_part(PICTURE), by_url(web + path))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages.0.content.2.image_url"
    assert "127.0.0.1" not in answer.json()["error"]["message"]
