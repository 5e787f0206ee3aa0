"""The official client against the real server."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from server import Server


@pytest.fixture
def client(tiny_server: Server) -> Iterator[openai.OpenAI]:
    url = f"http://{tiny_server.host}:{tiny_server.port}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


MODEL = "tiny-llama"


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_completions(client: openai.OpenAI) -> None:
    done = client.completions.create(model=MODEL, prompt="The quick", max_tokens=5, temperature=0)
    assert done.id.startswith("cmpl-")
    assert done.usage is not None
    assert done.usage.completion_tokens <= 5
    again = client.completions.create(model=MODEL, prompt=["The quick", "The quick"], max_tokens=5, temperature=0, n=2)
    assert [choice.index for choice in again.choices] == [0, 1, 2, 3]
    assert {choice.text for choice in again.choices} == {done.choices[0].text}


def test_streamed_text_is_the_whole_text(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=MODEL, prompt="A server", max_tokens=20, temperature=0)
    parts = client.completions.create(
        model=MODEL,
        prompt="A server",
        max_tokens=20,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(parts)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_chat_streams_and_counts(client: openai.OpenAI) -> None:
    messages: list = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
    whole = client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=12, temperature=0)
    assert whole.id.startswith("chatcmpl-")
    assert whole.choices[0].finish_reason in ("stop", "length")
    stream = client.chat.completions.create(
        model=MODEL,
        messages=messages,
        max_completion_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, usage, finish = "", None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert text == whole.choices[0].message.content
    assert usage is not None
    assert whole.usage is not None  # their cached tokens may differ
    assert (usage.prompt_tokens, usage.completion_tokens) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    assert finish == whole.choices[0].finish_reason


def test_logprobs_of_chat_and_completions_agree_with_each_other(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Hi"}],
        max_completion_tokens=4,
        temperature=0,
        logprobs=True,
        top_logprobs=3,
    )
    assert chat.choices[0].logprobs is not None
    for entry in chat.choices[0].logprobs.content or []:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob)
        assert entry.token == entry.top_logprobs[0].token
    echo = client.completions.create(
        model=MODEL, prompt="The quick brown fox", max_tokens=0, echo=True, logprobs=1, temperature=0
    )
    assert echo.choices[0].text == "The quick brown fox"
    assert echo.choices[0].logprobs is not None
    values = echo.choices[0].logprobs.token_logprobs or []
    assert values[0] is None
    assert all(value is not None and value < 0 for value in values[1:])


def test_seeds_repeat_and_differ(client: openai.OpenAI) -> None:
    def text(seed: int) -> str:
        done = client.completions.create(model=MODEL, prompt="Once", max_tokens=16, temperature=1, seed=seed)
        return done.choices[0].text

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(5)}) > 1


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="nonsense"):
        client.completions.create(model="nonsense", prompt="x")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model=MODEL, prompt="x", temperature=-1)
    with pytest.raises(openai.BadRequestError, match="512"):
        client.completions.create(model=MODEL, prompt=[5] * 600, max_tokens=1)
