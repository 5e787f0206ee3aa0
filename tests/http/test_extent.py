"""How much one request may ask for in all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.http_process import HttpProcess, http_process
from helpers.router_scripts import CONTEXT
from lightllm_rs.http import extent
from lightllm_rs.http.call import PromptText
from lightllm_rs.http.errors import ApiError
from lightllm_rs.http.sampling import Wishes
from lightllm_rs.messages.sampling import Sampling

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def small(run_dir: Path, tiny_folder: Path) -> Iterator[httpx.Client]:
    """A server that can hold 6 waiting and 64 running requests."""
    with (
        http_process(run_dir, tiny_folder, max_queued_requests=6, max_n=128) as process,
        httpx.Client(base_url=process.url, timeout=60) as client,
    ):
        yield client


def test_more_choices_than_the_engine_can_hold(small: httpx.Client) -> None:
    for path, body, param, most in (
        ("/v1/completions", {"prompt": "Hi", "n": 65}, "n", 64),
        ("/v1/completions", {"prompt": ["Hi"] * 36, "n": 2, "stream": True}, "n", 70),
        ("/v1/completions", {"prompt": ["Hi"] * 71}, "prompt", 70),
        ("/v1/chat/completions", {"messages": HI, "n": 65}, "n", 64),
        ("/generate", {"inputs": "Hi", "parameters": {"n": 65, "do_sample": True}}, "parameters.n", 64),
    ):
        answer = small.post(path, json=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == param
        assert f"{most} that" in answer.json()["error"]["message"]
    assert small.post("/v1/completions", json={"prompt": "Hi", "n": 64}).status_code == 200
    assert small.post("/v1/completions", json={"prompt": ["Hi"] * 35, "n": 2}).status_code == 200


def test_choices_of_all_prompts_together(process: HttpProcess, client: httpx.Client) -> None:
    answer = client.post("/v1/completions", json={"prompt": ["Hi"] * 129, "n": 2})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
    assert not process.adds


def test_log_probabilities_of_a_whole_answer(process: HttpProcess, client: httpx.Client) -> None:
    body: dict[str, Any] = {"prompt": [[65, 66]] * 8, "n": 32, "max_tokens": CONTEXT - 2, "logprobs": 20}
    assert 8 * 32 * (CONTEXT - 2) * 21 < extent.MAX_LOGPROBS
    assert client.post("/v1/completions", json=body).status_code == 200


@pytest.mark.parametrize(
    ("most", "ids", "fits"), [(1000, 0, True), (1001, 0, False), (900, 100, True), (901, 100, False)]
)
def test_the_bound_on_log_probabilities(most: int, ids: int, fits: bool) -> None:
    sampling = Sampling(logprobs=19, prompt_logprobs=19 if ids else -1)
    wishes = Wishes(sampling, 100, (), False, True, "")
    prompts = [PromptText([5] * ids, most)] * 2
    if fits:
        extent.check_whole_logprobs(prompts, wishes, "max_tokens", "logprobs")
    else:
        with pytest.raises(ApiError, match="lower max_tokens, logprobs or n") as caught:
            extent.check_whole_logprobs(prompts, wishes, "max_tokens", "logprobs")
        assert caught.value.status == 400
