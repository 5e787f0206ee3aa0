"""How a request's fields reach the router."""

from __future__ import annotations

from typing import Any

import httpx

from helpers.http_process import HttpProcess
from helpers.router_scripts import END_ID
from helpers.tiny_models import END_OF_TEXT
from lightllm_rs.messages.frames import unpack_f32, unpack_u32


def complete(client: httpx.Client, **body: Any) -> Any:
    response = client.post("/v1/completions", json={"prompt": "Hi", **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_sampling_settings_travel(process: HttpProcess, client: httpx.Client) -> None:
    complete(
        client,
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        min_p=0.1,
        seed=-1,
        presence_penalty=-1.5,
        frequency_penalty=0.25,
        repetition_penalty=1.5,
        min_tokens=3,
        max_tokens=9,
        logit_bias={"5": -100, "6": 2.5},
        stop_token_ids=[9],
        cache_salt="mine",
        logprobs=2,
    )
    add = process.adds[0]
    sampling = add.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.9, 7, 0.1)
    assert (sampling.presence, sampling.frequency, sampling.repetition) == (-1.5, 0.25, 1.5)
    assert (sampling.seed, sampling.min_tokens, sampling.logprobs) == (2**64 - 1, 3, 2)
    assert unpack_u32(sampling.bias_ids).tolist() == [5, 6]
    assert unpack_f32(sampling.bias_values).tolist() == [-100, 2.5]
    assert unpack_u32(sampling.end_ids).tolist() == [END_ID, END_OF_TEXT, 9]
    assert (add.max_tokens, add.cache_salt) == (9, "mine")


def test_neutral_values_and_defaults(process: HttpProcess, client: httpx.Client) -> None:
    complete(client, temperature=None, top_k=-1, n=1, best_of=1, suffix=None, stop=None, echo=False, user="me")
    sampling = process.adds[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (1.0, 1.0, 0, 0.0)
    assert (sampling.logprobs, sampling.prompt_logprobs, sampling.bias_ids) == (-1, -1, b"")
