"""/v1/completions over a real socket, with a scripted router."""

from __future__ import annotations

import json
import socket
from collections.abc import Generator
from typing import Any

import httpx
import msgspec
import openai
import pytest

from helpers.http_process import HttpProcess
from helpers.router_scripts import CONTEXT, Step, never, prompt_ids, rows_of, says, says_ids
from helpers.tiny_models import END_OF_TEXT, tiny_tokenizer
from lightllm_rs.messages import requests


def events(response: httpx.Response) -> list[Any]:
    """The JSON of all events of a stream, which must end with [DONE]."""
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def complete(client: httpx.Client, **body: Any) -> Any:
    response = client.post("/v1/completions", json={"prompt": "Hi", **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_text_and_usage(process: HttpProcess, client: httpx.Client) -> None:
    answer = complete(client)
    assert answer["id"].startswith("cmpl-")
    assert answer["object"] == "text_completion"
    choice = answer["choices"][0]
    assert (choice["text"], choice["finish_reason"], choice["index"]) == ("Hello world", "stop", 0)
    output = len(tiny_tokenizer().encode("Hello world").ids) + 1  # the end token counts
    prompt = len(tiny_tokenizer().encode("Hi").ids)
    assert answer["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    assert process.adds[0].max_tokens == 16
    assert prompt_ids(process.adds[0]) == tiny_tokenizer().encode("Hi").ids


def test_prompt_forms(process: HttpProcess, client: httpx.Client) -> None:
    ids = tiny_tokenizer().encode("Hi").ids
    for prompt, count in (("Hi", 1), (["Hi", "Hi"], 2), (ids, 1), ([ids, ids, ids], 3)):
        process.adds.clear()
        answer = complete(client, prompt=prompt, n=2)
        assert [choice["index"] for choice in answer["choices"]] == list(range(2 * count))
        assert [prompt_ids(add) for add in process.adds] == [ids] * (2 * count)
        assert answer["usage"]["prompt_tokens"] == count * len(ids)


def test_every_choice_has_a_seed_of_its_own(process: HttpProcess, client: httpx.Client) -> None:
    complete(client, n=3, seed=5)
    assert [add.sampling.seed for add in process.adds] == [5, 6, 7]
    process.adds.clear()
    complete(client)
    complete(client)
    assert process.adds[0].sampling.seed != process.adds[1].sampling.seed


def test_ignore_eos_leaves_only_the_requests_own_ends(process: HttpProcess, client: httpx.Client) -> None:
    answer = complete(client, ignore_eos=True, max_tokens=3)
    assert process.adds[0].sampling.end_ids == b""
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


def test_default_length_fits_the_context(process: HttpProcess, client: httpx.Client) -> None:
    complete(client, prompt=[7] * (CONTEXT - 5))
    assert process.adds[0].max_tokens == 5


def test_stream_is_the_text_in_pieces(process: HttpProcess, client: httpx.Client) -> None:
    body = {"prompt": "Hi", "stream": True, "stream_options": {"include_usage": True}}
    response = client.post("/v1/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = events(response)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1]) == "Hello world"
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == len(tiny_tokenizer().encode("Hello world").ids) + 1


def test_stream_without_usage_says_nothing_of_it(process: HttpProcess, client: httpx.Client) -> None:
    chunks = events(client.post("/v1/completions", json={"prompt": "Hi", "stream": True}))
    assert all("usage" not in chunk for chunk in chunks)


@pytest.mark.parametrize("text", ["naïve café", "日本語のテキスト", "a🙂b🙃c", "👩‍👩‍👧 e\u0301"])
def test_a_stream_never_breaks_a_character(process: HttpProcess, client: httpx.Client, text: str) -> None:
    process.script = says(text)
    process.pace = 0.001
    body = {"prompt": "Hi", "stream": True, "max_tokens": 100}
    pieces = [chunk["choices"][0]["text"] for chunk in events(client.post("/v1/completions", json=body))]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_half_a_character_at_the_end_is_shown_as_such(process: HttpProcess, client: httpx.Client) -> None:
    process.script = says_ids(tiny_tokenizer().encode("a🙂").ids[:-1], ends=False)
    assert complete(client)["choices"][0]["text"] == "a\ufffd"


def test_special_tokens_are_left_out_unless_wanted(process: HttpProcess, client: httpx.Client) -> None:
    ids = tiny_tokenizer().encode("one<|endoftext|>two").ids
    assert END_OF_TEXT in ids
    process.script = says_ids(ids, ends=False)
    assert complete(client)["choices"][0]["text"] == "onetwo"
    assert complete(client, skip_special_tokens=False)["choices"][0]["text"] == "one<|endoftext|>two"


def test_stop_string_across_tokens(process: HttpProcess, client: httpx.Client) -> None:
    process.script = says("The quick brown fox jumps over the lazy dog.")
    answer = complete(client, stop=["own f", "never"], max_tokens=50)
    assert answer["choices"][0]["text"] == "The quick br"
    assert answer["choices"][0]["finish_reason"] == "stop"
    process.wait(lambda: process.aborts == [process.adds[0].request], "the router was not told")
    chunks = events(client.post("/v1/completions", json={"prompt": "Hi", "stream": True, "stop": "own f"}))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "The quick br"
    kept = complete(client, stop="own f", include_stop_str_in_output=True)
    assert kept["choices"][0]["text"] == "The quick brown f"


def test_a_beginning_of_a_stop_string_is_let_out_at_the_end(process: HttpProcess, client: httpx.Client) -> None:
    process.script = says("one two thr")
    assert complete(client, stop="three")["choices"][0]["text"] == "one two thr"
    chunks = events(client.post("/v1/completions", json={"prompt": "Hi", "stream": True, "stop": ["three"]}))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "one two thr"


def test_stop_strings_wait_for_min_tokens(process: HttpProcess, client: httpx.Client) -> None:
    process.script = says("aXbXc")
    count = len(tiny_tokenizer().encode("aXb").ids)
    assert complete(client, stop="X", min_tokens=count)["choices"][0]["text"] == "aXb"


def test_logprobs_match_the_text(process: HttpProcess, client: httpx.Client) -> None:
    choice = complete(client, logprobs=2)["choices"][0]
    lists = choice["logprobs"]
    assert "".join(lists["tokens"]) == choice["text"] == "Hello world"
    assert lists["text_offset"] == [len("".join(lists["tokens"][:n])) for n in range(len(lists["tokens"]))]
    assert set(lists["token_logprobs"]) == {-0.5}
    tops = lists["top_logprobs"], lists["tokens"]
    assert all(len(top) == 2 and top[token] == -0.5 for top, token in zip(*tops, strict=True))
    chunks = events(client.post("/v1/completions", json={"prompt": "Hi", "logprobs": 2, "stream": True}))
    streamed = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    for name, values in lists.items():
        assert [value for part in streamed for value in part[name]] == values


def test_logprobs_end_where_a_stop_string_begins(process: HttpProcess, client: httpx.Client) -> None:
    process.script = says("The quick brown fox")
    choice = complete(client, logprobs=0, stop="uick", max_tokens=50)["choices"][0]
    assert choice["text"] == "The q"
    assert "".join(choice["logprobs"]["tokens"]).startswith("The q")
    assert choice["logprobs"]["text_offset"][-1] < len("The q")
    assert all(len(top) == 1 for top in choice["logprobs"]["top_logprobs"])


def test_echo(process: HttpProcess, client: httpx.Client) -> None:
    answer = complete(client, prompt="The fox", echo=True)
    assert answer["choices"][0]["text"] == "The foxHello world"
    ids = tiny_tokenizer().encode("The fox").ids
    assert complete(client, prompt=ids, echo=True)["choices"][0]["text"] == "The foxHello world"
    chunks = events(client.post("/v1/completions", json={"prompt": "The fox", "echo": True, "stream": True, "n": 2}))
    for index in range(2):
        texts = [c["choices"][0]["text"] for c in chunks if c["choices"][0]["index"] == index]
        assert "".join(texts) == "The foxHello world"


def test_echo_with_logprobs_of_the_prompt(process: HttpProcess, client: httpx.Client) -> None:
    choice = complete(client, prompt="The fox", echo=True, logprobs=1)["choices"][0]
    lists = choice["logprobs"]
    assert "".join(lists["tokens"]) == "The foxHello world"
    assert lists["token_logprobs"][0] is None
    assert lists["top_logprobs"][0] is None
    assert set(lists["token_logprobs"][1:]) == {-0.5}
    assert process.adds[0].sampling.prompt_logprobs == 1


def test_no_tokens_at_all_only_the_prompts_logprobs(process: HttpProcess, client: httpx.Client) -> None:
    answer = complete(client, prompt="The fox", echo=True, logprobs=0, max_tokens=0)
    choice = answer["choices"][0]
    assert choice["text"] == "The fox"
    assert choice["finish_reason"] == "length"
    assert len(choice["logprobs"]["tokens"]) == len(tiny_tokenizer().encode("The fox").ids)
    assert answer["usage"]["completion_tokens"] == 0
    assert process.adds[0].max_tokens == 1  # the router knows no less


def test_openai_client(process: HttpProcess) -> None:
    with openai.OpenAI(base_url=f"{process.url}/v1", api_key="none", max_retries=0) as official:
        answer = official.completions.create(model="tiny", prompt="Hi", logprobs=1)
        assert answer.choices[0].text == "Hello world"
        assert answer.choices[0].logprobs is not None
        stream = official.completions.create(model="tiny", prompt="Hi", stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == "Hello world"
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            official.completions.create(model="other", prompt="Hi")
        with pytest.raises(openai.BadRequestError, match="temperature") as caught:
            official.completions.create(model="tiny", prompt="Hi", temperature=3)
        assert caught.value.param == "temperature"


def test_a_client_that_leaves_frees_its_requests(process: HttpProcess) -> None:
    process.script = never
    before = process.counter("lightllm_disconnects_total")
    body = json.dumps({"prompt": "Hi", "n": 2})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with socket.create_connection(("127.0.0.1", process.port)) as leaving:
        leaving.sendall(f"{head}\r\n\r\n{body}".encode())
        process.wait(lambda: len(process.adds) == 2)
    process.wait(lambda: len(process.aborts) == 2, "the router was not told")
    assert sorted(process.aborts) == sorted(add.request for add in process.adds)
    process.wait(lambda: process.counter("lightllm_disconnects_total") > before)


def test_a_client_that_leaves_a_stream_frees_its_request(process: HttpProcess, client: httpx.Client) -> None:
    process.script = says("word " * 200, ends=False)
    process.pace = 0.05
    body = {"prompt": "Hi", "stream": True, "max_tokens": 200}
    with client.stream("POST", "/v1/completions", json=body) as response:
        assert next(response.iter_lines())
    process.wait(lambda: process.aborts == [process.adds[0].request], "the router was not told")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("most", [0, 3])
def test_an_echoed_prompt_whose_log_probabilities_come_in_pieces(
    process: HttpProcess, client: httpx.Client, stream: bool, most: int
) -> None:
    def pieces(add: requests.Add) -> Generator[Step, None, None]:
        first, *rest = rows_of(add, [72, 73, 74], ends=False)
        assert isinstance(first, requests.OutputRow)
        entries = first.prompt_logprobs
        assert entries is not None
        # A preempted request reports some positions again.
        for start, end in ((1, 3), (3, 5), (1, 4), (4, 6), (6, len(entries) + 1)):
            piece = entries[start - 1 : end - 1]
            yield requests.OutputRow(add.request, b"", requests.RUNNING, None, None, start, piece)
        yield msgspec.structs.replace(first, prompt_start=0, prompt_logprobs=None)
        yield from rest

    process.script = pieces
    body = {"prompt": [65] * 9, "max_tokens": most, "echo": True, "logprobs": 1}
    if stream:
        answer = client.post("/v1/completions", json={**body, "stream": True})
        assert answer.status_code == 200, answer.text
        lists = [event["choices"][0]["logprobs"] for event in events(answer)]
        values = [value for entry in lists for value in entry["token_logprobs"]]
    else:
        values = complete(client, **body)["choices"][0]["logprobs"]["token_logprobs"]
    assert values == [None] + [-0.5] * (8 + most)
