"""The demo model answers, on the CPU, through all processes."""

from __future__ import annotations

import httpx

from server import serving


def test_a_person_gets_a_real_answer() -> None:
    with serving("--device", "cpu") as server, httpx.Client(base_url=f"http://{server.host}:{server.port}") as client:
        body = {
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "temperature": 0,
            "max_tokens": 24,
        }
        answer = client.post("/v1/chat/completions", json=body, timeout=240).json()
        assert "Paris" in answer["choices"][0]["message"]["content"]
        native = {"inputs": "The capital of Italy is", "parameters": {"max_new_tokens": 4, "do_sample": False}}
        answer = client.post("/generate", json=native, timeout=240).json()
        assert "Rome" in answer["generated_text"][0]
