"""The server that is measured, and the bodies that it takes."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.outcome import Prompt

KEYS = ("LIGHTLLM_API_KEY", "OPENAI_API_KEY")
"""Environment variables with the server's key; the first that is set counts. Flags can be read by every user."""

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


@dataclass(frozen=True)
class Target:
    """Where requests go. Travels to the client processes.

    Attributes:
        host, port, tls: of the server.
        path: of the endpoint, with the path of the base URL before it.
        model: its name in the API.
        extra: fields of each body: temperature, ignore_eos and so on.
    """

    host: str
    port: int
    tls: bool
    path: str
    model: str
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def chats(self) -> bool:
        """Whether the endpoint takes messages."""
        return self.path.endswith("/chat/completions")

    def request(self, prompt: Prompt) -> bytes:
        """Head and body of the request, as they go over the wire. Its answer is a stream that ends with the usage."""
        body: dict[str, Any] = {"model": self.model, "stream": True, "stream_options": {"include_usage": True}}
        if self.chats:
            body |= {"messages": [{"role": "user", "content": prompt.text}]}
            body["max_completion_tokens"] = prompt.output_tokens
        else:
            body |= {"prompt": prompt.text, "max_tokens": prompt.output_tokens}
        payload = json.dumps(body | self.extra).encode()
        lines = [f"POST {self.path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(payload)}", "Accept: text/event-stream"]
        key = api_key()
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        return "\r\n".join([*lines, "", ""]).encode() + payload

    def ssl_context(self) -> ssl.SSLContext | None:
        """For TLS; None without."""
        return ssl.create_default_context() if self.tls else None


def api_key() -> str | None:
    """The server's key, if the environment has one."""
    return next((os.environ[name] for name in KEYS if os.environ.get(name)), None)


def target_of(base_url: str, endpoint: str, model: str | None, extra: dict[str, Any]) -> Target:
    """The target at a URL, with the model's name as the server has it. Raises BenchError."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BenchError(f"--base-url {base_url!r} is no address: write it as http://127.0.0.1:8000")
    if not endpoint.startswith("/"):
        raise BenchError(f"--endpoint must begin with /, and is {endpoint!r}")
    tls = parts.scheme == "https"
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    named = model_name(base, model)
    port = parts.port or (443 if tls else 80)
    return Target(parts.hostname, port, tls, parts.path.rstrip("/") + endpoint, named, extra)


def model_name(base: str, model: str | None) -> str:
    """What the server calls `model`: a folder may go by its own name there. None: the first that the server names.

    Raises BenchError.
    """
    names = models_of(base)
    if model is None:
        return names[0]
    return next((name for name in (model, Path(model).resolve().name) if name in names), model)


def models_of(base: str) -> list[str]:
    """Names of a server's models, one at least. Raises BenchError."""
    key = api_key()
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    asked = urllib.request.Request(f"{base}/v1/models", headers=headers)  # noqa: S310  http or https, as checked
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
            names = [str(model["id"]) for model in json.load(answer)["data"]]
    except urllib.error.HTTPError as error:
        hint = f"set {' or '.join(KEYS)}" if error.code in (401, 403) else "is it a server with OpenAI's API?"
        raise BenchError(f"{base}/v1/models answers with status {error.code}: {hint}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise BenchError(f"{base} does not answer ({reason}): is the server running, and is the port right?") from None
    except (ValueError, LookupError, TypeError):
        names = []
    if not names:
        raise BenchError(f"{base}/v1/models names no model: is it a server with OpenAI's API?")
    return names
