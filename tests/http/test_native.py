"""LightLLM's own routes and the tokenizer's."""

from __future__ import annotations

import json

import httpx

from helpers.http_process import HttpProcess
from helpers.router_scripts import CONTEXT, says
from helpers.tiny_models import tiny_tokenizer


def test_generate(process: HttpProcess, client: httpx.Client) -> None:
    body = {"inputs": "Hi", "parameters": {"max_new_tokens": 20, "do_sample": False, "return_details": True}}
    answer = client.post("/generate", json=body).json()
    ids = tiny_tokenizer().encode("Hello world").ids
    assert answer["generated_text"] == ["Hello world"]
    assert answer["count_output_tokens"] == len(ids) + 1
    assert answer["finish_reason"] == "stop"
    assert answer["prompt_tokens"] == len(tiny_tokenizer().encode("Hi").ids)
    assert [token["id"] for token in answer["tokens"]][:-1] == ids
    assert "".join(token["text"] for token in answer["tokens"]) == "Hello world"
    assert answer["tokens"][-1]["special"]
    assert process.adds[0].sampling.temperature == 0.0, "greedy without do_sample"
    assert process.adds[0].max_tokens == 20


def test_generate_several(process: HttpProcess, client: httpx.Client) -> None:
    parameters = {"n": 2, "do_sample": True, "temperature": 0.7, "max_new_tokens": 3, "ignore_eos": True}
    answer = client.post("/generate", json={"inputs": [5, 6], "parameters": parameters}).json()
    assert len(answer["generated_text"]) == 2
    assert answer["count_output_tokens"] == [3, 3]
    assert answer["finish_reason"] == ["length", "length"]
    assert "tokens" not in answer
    assert process.adds[0].sampling.temperature == 0.7


def test_generate_defaults_to_the_rest_of_the_context(process: HttpProcess, client: httpx.Client) -> None:
    assert client.post("/generate", json={"inputs": [5, 6]}).status_code == 200
    assert process.adds[0].max_tokens == CONTEXT - 2


def test_a_salt_travels(process: HttpProcess, client: httpx.Client) -> None:
    for path in ("/generate", "/generate_stream"):
        process.adds.clear()
        for salt in ("mine", "", None):
            assert client.post(path, json={"inputs": "Hi", "parameters": {"cache_salt": salt}}).status_code == 200
        assert [add.cache_salt for add in process.adds] == ["mine", "", ""]


def stream(client: httpx.Client, **parameters: object) -> list[dict[str, object]]:
    response = client.post("/generate_stream", json={"inputs": "Hi", "parameters": parameters})
    assert response.status_code == 200, response.text
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data:{") for line in lines)
    return [json.loads(line.removeprefix("data:")) for line in lines]


def test_generate_stream(process: HttpProcess, client: httpx.Client) -> None:
    events = stream(client)
    prompt = len(tiny_tokenizer().encode("Hi").ids)
    assert "".join(event["token"]["text"] for event in events) == "Hello world"
    assert [event["token"]["count_output_tokens"] for event in events] == list(range(1, len(events) + 1))
    assert {event["token"]["prompt_tokens"] for event in events} == {prompt}
    assert [event["finished"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["finish_reason"] == "stop"
    assert all(event["token"]["logprob"] == -0.5 for event in events)
    assert set(events[0]) == {"token", "generated_text", "finished", "finish_reason", "details"}


def test_generate_stream_with_stop_strings_and_characters(process: HttpProcess, client: httpx.Client) -> None:
    process.script = says("a🙂b STOP c")
    events = stream(client, stop_sequences=["STOP"])
    assert "".join(event["token"]["text"] for event in events) == "a🙂b "
    assert events[-1]["finished"]


def test_tokens(process: HttpProcess, client: httpx.Client) -> None:
    count = len(tiny_tokenizer().encode("The quick brown fox").ids)
    assert client.post("/tokens", json={"text": "The quick brown fox", "parameters": {}}).json() == {"ntokens": count}


def test_tokenize_and_back(process: HttpProcess, client: httpx.Client) -> None:
    text = "naïve 日本語 🙂"
    answer = client.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    assert answer["tokens"] == tiny_tokenizer().encode(text).ids
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert answer["max_model_len"] == CONTEXT
    assert client.post("/detokenize", json={"tokens": answer["tokens"]}).json() == {"prompt": text}
    chat = client.post("/tokenize", json={"messages": [{"role": "user", "content": "Hi"}]}).json()
    assert client.post("/detokenize", json={"tokens": chat["tokens"]}).json()["prompt"] == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert client.post("/tokenize", json={"prompt": ""}).json()["tokens"] == []


def test_tokenize_takes_one_of_two(process: HttpProcess, client: httpx.Client) -> None:
    for body in ({}, {"prompt": "a", "messages": [{"role": "user", "content": "Hi"}]}):
        assert client.post("/tokenize", json=body).status_code == 400
