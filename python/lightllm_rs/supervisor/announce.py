"""What the user reads when the service is ready."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable
from typing import TextIO

from lightllm_rs.supervisor.child_process import ChildProcess
from lightllm_rs.supervisor.model import Model


def start_table(children: Iterable[ChildProcess], began: float) -> str:
    """One line a process: seconds from the begin of the service until it was ready, and the phases that it told of."""
    rows = []
    for child in sorted(children, key=lambda child: child.ready or 0.0):
        assert child.ready is not None, "the table is for a service that is ready"
        phases = ", ".join(
            f"{phase.name} {phase.seconds:.2f}" + (f" ({phase.detail})" if phase.detail else "")
            for phase in child.phases
        )
        rows.append(f"  {child.name:<12} {child.ready - began:7.2f} s   {phases}".rstrip())
    return "\n".join(["  process       ready at   phases (s)", *rows])


def curl_line(url: str, model: Model, has_key: bool, certificate: str | None) -> str:
    """A command that works as it stands. The key itself is never shown."""
    if model.chats:
        path = "/v1/chat/completions"
        message = {"role": "user", "content": "What is the capital of France?"}
        body = {"model": model.name, "messages": [message], "temperature": 0}
    else:
        path = "/v1/completions"
        body = {"model": model.name, "prompt": "The capital of France is"}
    parts = ["curl"]
    if certificate is not None:
        parts += ["--cacert", shlex.quote(os.path.abspath(certificate))]
    parts += [url + path, "-H 'Content-Type: application/json'"]
    if has_key:
        parts.append('-H "Authorization: Bearer $LIGHTLLM_API_KEY"')
    parts += ["-d", shlex.quote(json.dumps(body, ensure_ascii=False))]
    return " ".join(parts)


def emphasised(text: str, out: TextIO) -> str:
    """Bold on a terminal, plain elsewhere and where NO_COLOR is set."""
    return f"\033[1m{text}\033[0m" if out.isatty() and "NO_COLOR" not in os.environ else text
