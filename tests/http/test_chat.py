"""/v1/chat/completions over a real socket, with a scripted router."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai

from helpers.http_process import HttpProcess
from helpers.router_scripts import CONTEXT, prompt_ids, says
from helpers.tiny_models import tiny_tokenizer

HI = [{"role": "user", "content": "Hi"}]
HI_PROMPT = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def prompt_text(process: HttpProcess) -> str:
    return str(tiny_tokenizer().decode(prompt_ids(process.adds[-1]), skip_special_tokens=False))


def chat(client: httpx.Client, **body: Any) -> Any:
    response = client.post("/v1/chat/completions", json={"messages": HI, **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_answer(process: HttpProcess, client: httpx.Client) -> None:
    answer = chat(client)
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    choice = answer["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hello world", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert prompt_text(process) == HI_PROMPT
    ids = prompt_ids(process.adds[0])
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert process.adds[0].max_tokens == CONTEXT - len(ids), "the default is the rest of the context"


def test_contents_and_roles(process: HttpProcess, client: httpx.Client) -> None:
    chat(
        client,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c", "name": "x"},
            {"role": "tool", "content": "d", "tool_call_id": "1"},
        ],
        add_generation_prompt=False,
    )
    assert prompt_text(process) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na\nb<|im_end|>\n"
        "<|im_start|>assistant\nc<|im_end|>\n<|im_start|>tool\nd<|im_end|>\n"
    )


def test_the_newer_name_of_max_tokens_wins(process: HttpProcess, client: httpx.Client) -> None:
    chat(client, max_tokens=9, max_completion_tokens=4)
    assert process.adds[0].max_tokens == 4


def test_logprobs(process: HttpProcess, client: httpx.Client) -> None:
    process.script = says("a🙂")
    content = chat(client, logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]
    assert b"".join(bytes(entry["bytes"]) for entry in content).decode() == "a🙂"
    assert all(entry["logprob"] == -0.5 and len(entry["top_logprobs"]) == 2 for entry in content)
    assert process.adds[0].sampling.logprobs == 2
    assert chat(client, logprobs=True)["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    assert chat(client)["choices"][0]["logprobs"] is None


def test_official_client_streams(process: HttpProcess) -> None:
    with openai.OpenAI(base_url=f"{process.url}/v1", api_key="none", max_retries=0) as official:
        stream = official.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
            n=2,
            logprobs=True,
        )
        texts: dict[int, str] = {0: "", 1: ""}
        roles: list[str | None] = []
        finishes = []
        usage = None
        for chunk in stream:
            assert chunk.object == "chat.completion.chunk"
            usage = chunk.usage or usage
            for choice in chunk.choices:
                roles += [choice.delta.role] if choice.delta.role else []
                texts[choice.index] += choice.delta.content or ""
                finishes += [choice.finish_reason] if choice.finish_reason else []
        assert texts == {0: "Hello world", 1: "Hello world"}
        assert roles == ["assistant", "assistant"]
        assert finishes == ["stop", "stop"]
        assert usage is not None
        assert usage.completion_tokens == 2 * (len(tiny_tokenizer().encode("Hello world").ids) + 1)


def test_what_tells_nothing_is_accepted(process: HttpProcess, client: httpx.Client) -> None:
    before = process.counter("lightllm_ignored_fields_total")
    neutral = {
        "user": "me",
        "metadata": {"a": "b"},
        "store": True,
        "service_tier": "auto",
        "tools": [],
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "n": 1,
        "logit_bias": {},
        "stop": [],
        "best_of": None,
    }
    chat(client, **neutral, never_heard_of={"a": 1}, nor_of_this=2)
    process.wait(lambda: process.counter("lightllm_ignored_fields_total") >= before + 2)


def test_kwargs_of_the_template(process: HttpProcess, client: httpx.Client) -> None:
    chat(client, chat_template_kwargs={"enable_thinking": False})
    for kwargs in ({"messages": "x"}, {"bos_token": "x"}, {"enable_thinking": {"a": 1}}):
        response = client.post("/v1/chat/completions", json={"messages": HI, "chat_template_kwargs": kwargs})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == f"chat_template_kwargs.{next(iter(kwargs))}"


def test_long_conversations_are_answered_too(process: HttpProcess, client: httpx.Client) -> None:
    messages = [{"role": "user", "content": ""}] * 1000
    response = client.post(
        "/v1/chat/completions",
        content=json.dumps({"messages": messages}).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
