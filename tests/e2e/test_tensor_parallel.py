"""Two ranks over gloo give the tokens of one."""

from __future__ import annotations

from pathlib import Path

import httpx

from server import Server, serving


def texts(server: Server) -> list[str]:
    with httpx.Client(base_url=f"http://{server.host}:{server.port}", timeout=60) as client:
        answers = []
        for prompt in ("The quick", "A server answers", "Once upon a time"):
            body = {"prompt": prompt, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
            answers.append(client.post("/v1/completions", json=body).json()["choices"][0]["text"])
        return answers


def test_two_ranks_say_what_one_says(tiny_folder: Path, tiny_server: Server) -> None:
    flags = ("--device", "cpu", "--tp", "2", "--kv-cache-tokens", "2048")
    with serving(str(tiny_folder), *flags) as server:
        assert texts(server) == texts(tiny_server)
