"""Bad input gets a clear error, and the others are served on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from helpers.http_process import HttpProcess
from helpers.refusals import CHAT, COMPLETIONS, GENERATE, refused
from helpers.router_scripts import CONTEXT, VOCAB

HI = [{"role": "user", "content": "Hi"}]


def test_empty_lists_are_said_to_be_empty(process: HttpProcess, client: httpx.Client) -> None:
    assert refused(client, CHAT, b'{"messages": []}')["message"] == "messages must not be empty"


def test_null_stands_for_what_is_not_given(process: HttpProcess, client: httpx.Client) -> None:
    response = client.post(GENERATE, json={"inputs": "Hi", "parameters": None})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_k", -2),
        ("top_k", 1.5),
        ("min_p", -1),
        ("min_p", 2),
        ("n", 0),
        ("n", -1),
        ("n", 65),
        ("n", "1"),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1),
        ("max_tokens", -1),
        ("max_tokens", 0),
        ("max_tokens", CONTEXT + 1),
        ("max_tokens", "12"),
        ("max_tokens", 1e30),
        ("max_tokens", 2**70),
        ("min_tokens", -1),
        ("min_tokens", 2**70),
        ("min_tokens", CONTEXT),
        ("seed", 2**64),
        ("seed", "x"),
        ("stop", ["x"] * 10_000),
        ("stop", [""]),
        ("stop", 5),
        ("stop", ["x" * 1001]),
        ("stop_token_ids", [VOCAB]),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", "1"),
        ("logit_bias", {"5": 101}),
        ("logit_bias", {"x": 1}),
        ("logit_bias", {str(VOCAB): 1}),
        ("logit_bias", {str(token): 1 for token in range(301)}),
        ("logit_bias", [1]),
        ("stream", "yes"),
        ("ignore_eos", 1),
        ("cache_salt", "x" * 257),
        ("stream_options", "usage"),
        ("stream_options", {"include_usage": True}),
    ],
)
def test_fields_out_of_range_or_of_the_wrong_type(
    process: HttpProcess, client: httpx.Client, field: str, value: Any
) -> None:
    for path, base in ((COMPLETIONS, {"prompt": "Hi"}), (CHAT, {"messages": HI})):
        error = refused(client, path, {**base, field: value})
        assert error["param"] == field, error
        assert field in error["message"]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
@pytest.mark.parametrize("field", ["temperature", "top_p", "presence_penalty", "repetition_penalty", "min_p"])
def test_numbers_that_are_not_finite(process: HttpProcess, client: httpx.Client, number: bytes, field: str) -> None:
    error = refused(client, COMPLETIONS, b'{"prompt": "Hi", "' + field.encode() + b'": ' + number + b"}")
    assert error["param"] in (field, None)
    error = refused(client, COMPLETIONS, b'{"prompt": "Hi", "logit_bias": {"5": ' + number + b"}}")
    assert error["param"] in ("logit_bias", None)


@pytest.mark.parametrize(
    "prompt",
    ["", [], [""], [[]], [1, "a"], ["a", [1]], [1.5], [True], [-1], [2**31], [VOCAB], [[VOCAB]], None, 5, {"a": 1}],
)
def test_prompts(process: HttpProcess, client: httpx.Client, prompt: Any) -> None:
    assert refused(client, COMPLETIONS, {"prompt": prompt})["param"] == "prompt"
    assert not process.adds or process.adds.clear() is None


def test_missing_fields(process: HttpProcess, client: httpx.Client) -> None:
    for path, field in ((COMPLETIONS, "prompt"), (CHAT, "messages"), (GENERATE, "inputs"), ("/detokenize", "tokens")):
        error = refused(client, path, {})
        assert error["param"] == field
        assert "missing" in error["message"]


def test_prompt_longer_than_the_context_says_both_lengths(process: HttpProcess, client: httpx.Client) -> None:
    for path, body in (
        (COMPLETIONS, {"prompt": [7] * 300}),
        (GENERATE, {"inputs": [7] * 300}),
        (COMPLETIONS, {"prompt": [7] * CONTEXT}),
    ):
        error = refused(client, path, body)
        assert error["code"] == "context_length_exceeded"
        assert str(CONTEXT) in error["message"]
        assert str(len(body.get("prompt") or body["inputs"])) in error["message"]


def test_prompt_of_millions_of_letters_is_refused_before_it_is_tokenised(
    process: HttpProcess, client: httpx.Client
) -> None:
    error = refused(client, COMPLETIONS, {"prompt": "x" * 3_000_000})
    assert "3000000 characters" in error["message"]


def test_max_tokens_past_the_context_says_what_is_left(process: HttpProcess, client: httpx.Client) -> None:
    error = refused(client, COMPLETIONS, {"prompt": [7] * 200, "max_tokens": 57})
    assert error["param"] == "max_tokens"
    assert "at most 56" in error["message"]


def test_too_many_prompts(process: HttpProcess, client: httpx.Client) -> None:
    assert refused(client, COMPLETIONS, {"prompt": ["a"] * 257})["param"] == "prompt"


@pytest.mark.parametrize(
    "body",
    [
        {"best_of": 2},
        {"suffix": "x"},
        {"use_beam_search": True},
        {"response_format": {"type": "json_object"}},
        {"guided_json": {}},
    ],
)
def test_what_is_not_supported_is_named(process: HttpProcess, client: httpx.Client, body: dict[str, Any]) -> None:
    error = refused(client, COMPLETIONS, {"prompt": "Hi", **body})
    assert error["param"] == next(iter(body))
    assert error["code"] == "unsupported"


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "required"},
        {"response_format": {"type": "json_schema"}},
        {"modalities": ["text", "audio"]},
        {"reasoning_effort": "low"},
        {"chat_template": "{{ 1 }}"},
    ],
)
def test_what_chat_does_not_support_is_named(process: HttpProcess, client: httpx.Client, body: dict[str, Any]) -> None:
    assert refused(client, CHAT, {"messages": HI, **body})["param"] == next(iter(body))


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("Hi", "messages"),
        ([{"role": "user"}], "messages.0.content"),
        ([{"role": "king", "content": "x"}], "messages.0.role"),
        ([{"content": "x"}], "messages.0.role"),
        ([{"role": "user", "content": 5}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages.0.content"),
        ([5], "messages.0"),
    ],
)
def test_messages(process: HttpProcess, client: httpx.Client, messages: Any, param: str) -> None:
    assert refused(client, CHAT, {"messages": messages})["param"] == param


def test_logprobs(process: HttpProcess, client: httpx.Client) -> None:
    assert refused(client, COMPLETIONS, {"prompt": "Hi", "logprobs": 21})["param"] == "logprobs"
    assert refused(client, CHAT, {"messages": HI, "logprobs": True, "top_logprobs": 21})["param"] == "top_logprobs"
    assert refused(client, CHAT, {"messages": HI, "top_logprobs": 1})["param"] == "top_logprobs"


def test_native_parameters_are_named_in_full(process: HttpProcess, client: httpx.Client) -> None:
    for name, value in (
        ("temperature", 3),
        ("max_new_tokens", 0),
        ("stop_sequences", ["x"] * 17),
        ("regular_constraint", "a+"),
        ("n", 0),
        ("cache_salt", "x" * 257),
        ("cache_salt", 5),
    ):
        error = refused(client, GENERATE, {"inputs": "Hi", "parameters": {name: value}})
        assert error["param"] == ("n" if error["param"] == "n" else f"parameters.{name}")
    assert refused(client, "/generate_stream", {"inputs": "Hi", "parameters": {"n": 2}})["param"] == "parameters.n"


def test_unknown_model_and_route(process: HttpProcess, client: httpx.Client) -> None:
    assert refused(client, COMPLETIONS, {"prompt": "Hi", "model": "gpt-9"}, 404)["code"] == "model_not_found"
    assert refused(client, "/v1/nothing", {}, 404)["code"] == "not_found"
    response = client.get(COMPLETIONS)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["code"] == "method_not_allowed"
