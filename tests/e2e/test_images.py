"""Images through the whole service on a CPU, against transformers."""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from helpers.metrics_page import metric
from helpers.seeing_service import (
    Yardstick,
    data_url,
    image_part,
    make_seeing_folder,
    noise,
    place_of_image,
    png,
    text_part,
)
from server import Server, serving

KINDS = ("llava-next", "internvl", "qwen2_5_vl", "qwen3_vl")
FLAGS = ("--device", "cpu", "--mm-cache-size", "0.03", "--kv-cache-tokens", "8192", "--threads", "1")
TOKENS = 5
CLOSE = 2e-3
"""Difference of log-probabilities that rounding explains; where the two best are as close, either may win."""


@dataclass(frozen=True)
class Seeing:
    """A server and its yardstick."""

    server: Server
    yardstick: Yardstick

    @property
    def url(self) -> str:
        return f"http://{self.server.host}:{self.server.port}"

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=120)

    def metric(self, name: str) -> float:
        return metric(self.url, name)


@pytest.fixture(scope="module", params=KINDS)
def seeing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeing]:
    kind: str = request.param
    folder = make_seeing_folder(tmp_path_factory.mktemp("models") / kind, kind)
    with serving(str(folder), *FLAGS) as server:
        yield Seeing(server, Yardstick(folder, kind))


def content(parts: Sequence[str | Image.Image]) -> list[dict[str, Any]]:
    return [text_part(part) if isinstance(part, str) else image_part(part) for part in parts]


PROMPTS: dict[str, list[str | Image.Image]] = {
    "image then text": [noise(60, 40), "What is that?"],
    "text, image, text": ["Look at this: ", noise(50, 90), " What is it?"],
    "several": ["One ", noise(90, 50, 1), " and two ", noise(33, 33, 2), " and one again ", noise(90, 50, 1), " all?"],
    "half a megabyte": ["Large: ", noise(420, 420, 4)],
    "a line": ["Thin: ", noise(300, 2, 6), "."],
    "one pixel": ["Tiny: ", noise(30, 30, 5).resize((1, 1)), "!"],
}


def assert_as_transformers(seeing: Seeing, ids: list[int], pictures: list[Image.Image], tokens: list[Any]) -> None:
    """Each token is the best one, or as good, and its log-probability is right."""
    for token in tokens:
        wanted = seeing.yardstick.logprobs(ids, pictures)
        number = int(wanted.argmax())
        best = float(wanted[number])
        spelt = bytes(token.bytes)
        chosen = [
            n
            for n in wanted.argsort(descending=True)[:5].tolist()
            if seeing.yardstick.tokenizer.token_bytes(n) == spelt
        ]
        assert chosen, f"{token.token!r} is not among the best"
        assert math.isclose(token.logprob, float(wanted[chosen[0]]), abs_tol=CLOSE)
        assert best - float(wanted[chosen[0]]) < CLOSE
        ids = [*ids, chosen[0]]


@pytest.mark.parametrize("name", PROMPTS)
def test_answers_are_those_of_transformers(seeing: Seeing, name: str) -> None:
    prompt, pictures = seeing.yardstick.chat(PROMPTS[name])
    ids = seeing.yardstick.ids(prompt, pictures)
    body: dict[str, Any] = {
        "model": seeing.yardstick.kind,
        "messages": [{"role": "user", "content": content(PROMPTS[name])}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "logprobs": True,
        "extra_body": {"ignore_eos": True},
    }
    with seeing.client() as client:
        answers = [client.chat.completions.create(**body) for _ in range(2)]  # the second has prefix hits
        stream = list(client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True}))
    for answer in answers:
        assert answer.usage.prompt_tokens == len(ids)
        assert answer.choices[0].logprobs is not None
        assert_as_transformers(seeing, ids, pictures, answer.choices[0].logprobs.content)
    assert answers[1].usage.prompt_tokens_details.cached_tokens > 0
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == answers[0].choices[0].message.content == answers[1].choices[0].message.content
    assert stream[-1].usage.prompt_tokens == len(ids)


def test_native_routes(seeing: Seeing) -> None:
    picture = noise(70, 45, 8)
    prompt = f"Here is {place_of_image(seeing.yardstick.kind)} and text"
    ids = seeing.yardstick.ids(prompt, [picture])
    images = {"images": [{"type": "base64", "data": base64.b64encode(png(picture)).decode()}]}
    body = {"inputs": prompt, "multimodal_params": images, "parameters": {"max_new_tokens": TOKENS, "ignore_eos": True}}
    answer = seeing.post("/generate", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["prompt_tokens"] == len(ids)
    best = int(seeing.yardstick.logprobs(ids, [picture]).argmax())
    assert answer.json()["generated_text"][0].startswith(seeing.yardstick.tokenizer.decode([best]))
    count = seeing.post("/tokens", {"text": prompt, "multimodal_params": images})
    assert count.json() == {"ntokens": len(ids)}


def test_tokens_of_a_chat_count_those_of_images(seeing: Seeing) -> None:
    parts = PROMPTS["several"]
    ids = seeing.yardstick.ids(*seeing.yardstick.chat(parts))
    answer = seeing.post("/tokenize", {"messages": [{"role": "user", "content": content(parts)}]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["count"] == len(ids)
    assert answer.json()["tokens"] == ids  # image tokens as the model's vocabulary has them


def test_choices_share_the_image(seeing: Seeing) -> None:
    body = {
        "model": seeing.yardstick.kind,
        "messages": [{"role": "user", "content": content(["Choose: ", noise(44, 44, 9)])}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "n": 3,
    }
    with seeing.client() as client:
        answer = client.chat.completions.create(**body)
    assert len({choice.message.content for choice in answer.choices}) == 1
    assert len(answer.choices) == 3


@pytest.mark.parametrize(
    "penalty", [{"presence_penalty": 1.5}, {"repetition_penalty": 1.3}, {"frequency_penalty": 0.5}]
)
def test_penalties_do_not_stumble_over_image_tokens(seeing: Seeing, penalty: dict[str, float]) -> None:
    body = {"messages": [{"role": "user", "content": content(["Say: ", noise(44, 44, 9)])}], "max_tokens": 20}
    answer = seeing.post("/v1/chat/completions", body | penalty)
    assert answer.status_code == 200, answer.text


def test_equal_requests_cost_one_encoding(seeing: Seeing) -> None:
    picture = image_part(noise(55, 66, 77))
    names = [f"lightllm_mm_cache_{name}_total" for name in ("queries", "hits", "joins", "encoded")]

    def values() -> list[float]:
        return [seeing.metric(name) for name in names]

    before = steady(values)
    bodies = [
        {"messages": [{"role": "user", "content": [picture, text_part(f"Ask {n}")]}], "max_tokens": 1}
        for n in range(20)
    ]

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=120) as client:
            return list(
                await asyncio.gather(*[client.post(f"{seeing.url}/v1/chat/completions", json=b) for b in bodies])
            )

    assert {answer.status_code for answer in asyncio.run(all_at_once())} == {200}

    def as_wanted() -> bool:
        queries, hits, joins, encoded = (now - was for now, was in zip(values(), before, strict=True))
        return (queries, hits + joins, encoded) == (20, 19, 1)

    wait_for(as_wanted)
    steady(values)
    assert as_wanted()
    wait_for(lambda: seeing.metric("lightllm_mm_cache_leases") == 0)


def test_a_salt_keeps_images_apart(seeing: Seeing) -> None:
    image = {"images": [{"type": "base64", "data": base64.b64encode(png(noise(52, 61, 78))).decode()}]}
    inputs = f"Here is {place_of_image(seeing.yardstick.kind)}"

    def values() -> list[float]:
        return [seeing.metric(f"lightllm_mm_cache_{name}_total") for name in ("encoded", "hits")]

    def more() -> list[float]:
        return [now - was for now, was in zip(values(), before, strict=True)]

    before = steady(values)
    texts = set()
    for salt in ("mine", "mine", "yours", ""):
        body = {"inputs": inputs, "multimodal_params": image, "parameters": {"max_new_tokens": 2, "cache_salt": salt}}
        answer = seeing.post("/generate", body)
        assert answer.status_code == 200, answer.text
        texts.add(answer.json()["generated_text"][0])
    assert len(texts) == 1
    wait_for(lambda: sum(more()) >= 4, 60)
    assert more() == [3, 1]


BAD: dict[str, tuple[Any, str]] = {
    "cut off": (lambda: png(noise(64, 64))[:200], "damaged or cut off"),
    "no image": (lambda: b"hello, this is text", "no readable"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "empty": (lambda: b"", "empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_the_callers_fault(seeing: Seeing, name: str) -> None:
    made, message = BAD[name]
    parts = [
        text_part("Look: "),
        image_part(noise(30, 30)),
        {"type": "image_url", "image_url": {"url": data_url(made())}},
    ]
    for stream in (False, True):
        answer = seeing.post(
            "/v1/chat/completions", {"messages": [{"role": "user", "content": parts}], "stream": stream}
        )
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error["param"] == "messages.0.content.2.image_url"
        assert message in error["message"]
    wait_for(lambda: seeing.metric("lightllm_mm_cache_leases") == 0)


def test_prompts_with_other_places_than_images(seeing: Seeing) -> None:
    place = place_of_image(seeing.yardstick.kind)
    parts = [text_part(f"There: {place}"), image_part(noise(30, 30))]
    answer = seeing.post("/v1/chat/completions", {"messages": [{"role": "user", "content": parts}]})
    assert answer.status_code == 400
    assert "2 places for images and 1" in answer.json()["error"]["message"]
    images = {"images": [{"type": "base64", "data": base64.b64encode(png(noise(30, 30))).decode()}]}
    answer = seeing.post("/generate", {"inputs": "no place", "multimodal_params": images})
    assert answer.status_code == 400
    assert "has places for 0" in answer.json()["error"]["message"]
    answer = seeing.post("/v1/chat/completions", {"messages": [{"role": "user", "content": f"Literally {place}"}]})
    assert answer.status_code == 400  # a model that sees cannot be told to see nothing


def test_ids_of_image_tokens_are_not_taken_from_callers(seeing: Seeing) -> None:
    answer = seeing.post("/generate", {"inputs": [5, 0x8000_0001, 7]})
    assert answer.status_code == 400
    assert "token ids must be" in answer.json()["error"]["message"]


def steady(values: Callable[[], list[float]]) -> list[float]:
    """Figures, once all that has happened is in them: they are reported once a second."""
    last: list[float] = []
    while (now := values()) != last:
        last = now
        time.sleep(2.2)
    return last


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)
