"""Two ranks over gloo give the tokens of one."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from server import Server, serving


def texts(server: Server) -> list[str]:
    with httpx.Client(base_url=f"http://{server.host}:{server.port}", timeout=200) as client:
        answers = []
        for prompt in ("The quick", "A server answers", "Once upon a time"):
            body = {"prompt": prompt, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
            answers.append(client.post("/v1/completions", json=body).json()["choices"][0]["text"])
        return answers


def test_two_ranks_say_what_one_says(tiny_folder: Path, tiny_server: Server) -> None:
    flags = ("--device", "cpu", "--tp", "2", "--kv-cache-tokens", "2048")
    with serving(str(tiny_folder), *flags) as server:
        assert texts(server) == texts(tiny_server)


@pytest.mark.gpu
@pytest.mark.skipif(len(list(Path("/dev").glob("nvidia[0-9]"))) < 2, reason="needs two GPUs")
@pytest.mark.parametrize("flags", [(), ("--enforce-eager",)], ids=["graphs", "eager"])
def test_nor_do_two_gpus_differ_from_one(tiny_folder: Path, flags: tuple[str, ...]) -> None:
    shared = ("--device", "cuda", "--dtype", "float32", "--kv-cache-tokens", "2048", *flags)
    with serving(str(tiny_folder), *shared) as server:
        alone = texts(server)
    with serving(str(tiny_folder), "--tp", "2", *shared) as server:
        assert texts(server) == alone
