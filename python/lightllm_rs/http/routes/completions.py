"""/v1/completions."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lightllm_rs._core import EventTemplate
from lightllm_rs.http.answers import check_model, counted, json_response, key_of, new_id, service_of, usage_of
from lightllm_rs.http.body import parse_body
from lightllm_rs.http.call import Call, PromptText
from lightllm_rs.http.choice import Choice
from lightllm_rs.http.errors import bad_request
from lightllm_rs.http.extent import check_choices, check_whole_logprobs
from lightllm_rs.http.logprobs import CompletionLogprobs, completion_logprobs
from lightllm_rs.http.prompt_images import check_places
from lightllm_rs.http.prompts import check_prompt, encode_all, output_tokens
from lightllm_rs.http.sampling import wishes_of
from lightllm_rs.http.schemas.completions import CompletionRequest
from lightllm_rs.http.service import Service
from lightllm_rs.http.streaming import DONE, EventStream, finish

DEFAULT_TOKENS = 16

router = APIRouter()


@router.post("/v1/completions")
async def completions(request: Request) -> Response:
    """Continues one or several prompts."""
    service = service_of(request)
    with counted(service) as began:
        body = await parse_body(request, service, CompletionRequest)
        check_model(service, body.model)
        if body.max_tokens == 0 and not body.echo:
            raise bad_request("max_tokens may be 0 only with echo", "max_tokens", "invalid_value")
        wants = -1 if body.logprobs is None else body.logprobs
        wishes = wishes_of(body, service, key_of(request), wants, wants if body.echo else -1)
        check_choices(service, len(body.prompt), wishes.n)
        prompts = await _prompts(service, body)
        if not body.stream:
            check_whole_logprobs(prompts, wishes, "max_tokens", "logprobs")
        call = Call(service, prompts, wishes, began=began, stream=bool(body.stream))
        answer = _Answer(service, body, call)
        if body.stream:
            service.engine.ready()
            return EventStream(call, answer)
        await finish(request, call)
        return json_response(answer.whole())


async def _prompts(service: Service, body: CompletionRequest) -> list[PromptText]:
    limit = service.settings.max_prompts
    if len(body.prompt) > limit:
        raise bad_request(
            f"prompt has {len(body.prompt)} prompts and at most {limit} are allowed", "prompt", "invalid_value"
        )
    if not all(body.prompt):
        raise bad_request("the prompt must not be empty", "prompt", "empty_prompt")
    given = body.prompt
    if isinstance(given[0], str):
        special = body.add_special_tokens is not False
        rows = await encode_all(service, given, "prompt", add_special_tokens=special)
    else:
        rows = given
    prompts = []
    for prompt, ids in zip(given, rows, strict=True):
        check_prompt(service, ids, "prompt")
        check_places(service, ids, 0, "prompt")
        text = ""
        if body.echo:
            text = prompt if isinstance(prompt, str) else service.tokenizer.decode(ids)
        most = output_tokens(service, len(ids), body.max_tokens, DEFAULT_TOKENS, body.min_tokens, "max_tokens")
        prompts.append(PromptText(ids, most, text))
    return prompts


class _Answer:
    """Writes the answer to a completion request, whole or as events."""

    def __init__(self, service: Service, body: CompletionRequest, call: Call) -> None:
        self._tokenizer = service.tokenizer
        self._call = call
        self._logprobs = body.logprobs
        self._usage = body.wants_usage
        self._head = {
            "id": new_id("cmpl"),
            "object": "text_completion",
            "created": int(time.time()),
            "model": service.model_name,
        }
        self._template = EventTemplate(
            head=b"data: " + msgspec.json.encode(self._head)[:-1] + b',"choices":[{"index":',
            field=b',"text":',
            before=b"",
            after=b"",
            empty=b'""',
            tail=b'}],"usage":null}\n\n' if self._usage else b"}]}\n\n",
            first=b"",
        )
        self._begun: set[int] = set()

    def whole(self) -> dict[str, Any]:
        """The answer in one piece."""
        choices = []
        for choice in self._call.choices:
            logprobs, output = self._take_logprobs(choice), choice.output
            choices.append(
                {"index": choice.index, "text": output.text(), "logprobs": logprobs, "finish_reason": output.finish}
            )
        return {**self._head, "choices": choices, "usage": usage_of(self._call)}

    def _take_logprobs(self, choice: Choice) -> dict[str, Any] | None:
        """New log-probabilities of a choice; the first time with those of the prompt, if that is echoed."""
        if self._logprobs is None:
            return None
        prompt = self._call.prompts[choice.prompt]
        lists = CompletionLogprobs(self._tokenizer, self._logprobs)
        if choice.index not in self._begun:
            self._begun.add(choice.index)
            if self._call.wishes.sampling.prompt_logprobs >= 0:
                lists.add_prompt(prompt.ids, choice.output.prompt_logprobs())
        completion_logprobs(lists, choice.output.records(), len(prompt.text))
        return lists.as_json()

    def _lacks_prompt(self, choice: Choice) -> bool:
        wanted = self._logprobs is not None and self._call.wishes.sampling.prompt_logprobs >= 0
        return wanted and choice.output.prompt_scored < choice.prompt_tokens

    def of_choice(self, choice: Choice) -> bytes:
        """One event. The echoed prompt waits until the log-probabilities of all of it are there."""
        if self._logprobs is None:
            return self._template.write(choice.output, choice.index)
        if not choice.ended and choice.index not in self._begun and self._lacks_prompt(choice):
            return b""
        logprobs = self._take_logprobs(choice)
        shown = logprobs is not None and (logprobs["tokens"] or choice.output.has_text or choice.ended)
        return self._template.write(choice.output, choice.index, msgspec.json.encode(logprobs) if shown else None)

    def end(self) -> bytes:
        """Usage, if wanted, and the end."""
        if not self._usage:
            return DONE
        event = {**self._head, "choices": [], "usage": usage_of(self._call)}
        return b"data: " + msgspec.json.encode(event) + b"\n\n" + DONE
