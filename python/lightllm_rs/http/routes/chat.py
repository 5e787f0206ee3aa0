"""/v1/chat/completions."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lightllm_rs._core import EventTemplate
from lightllm_rs.http.answers import check_model, counted, json_response, key_of, new_id, service_of, usage_of
from lightllm_rs.http.body import check_extras, parse_body
from lightllm_rs.http.call import Call, PromptText
from lightllm_rs.http.choice import Choice
from lightllm_rs.http.conversation import prompt_of
from lightllm_rs.http.errors import bad_request
from lightllm_rs.http.extent import check_choices, check_whole_logprobs
from lightllm_rs.http.images import sources_of_messages
from lightllm_rs.http.logprobs import chat_logprobs
from lightllm_rs.http.prompt_images import closed_on_error, with_images
from lightllm_rs.http.prompts import check_prompt, encode, output_tokens
from lightllm_rs.http.sampling import wishes_of
from lightllm_rs.http.schemas.chat import ChatCompletionRequest
from lightllm_rs.http.service import Service
from lightllm_rs.http.streaming import DONE, EventStream, finish

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Writes the next turn of a conversation."""
    service = service_of(request)
    with counted(service) as began:
        body = await parse_body(request, service, ChatCompletionRequest)
        check_model(service, body.model)
        for number, message in enumerate(body.messages):
            check_extras(message, service, f"messages.{number}.")
        wishes = wishes_of(body, service, key_of(request), _logprobs(body))
        check_choices(service, 1, wishes.n)
        prompt = await _prompt(request, service, body)
        with closed_on_error(prompt.images):
            if not body.stream:
                check_whole_logprobs([prompt], wishes, "max_tokens", "top_logprobs" if body.top_logprobs else None)
            call = Call(service, [prompt], wishes, began=began, stream=bool(body.stream))
            answer = _Answer(service, body, call)
            service.engine.ready()
        if body.stream:
            return EventStream(call, answer)
        await finish(request, call)
        return json_response(answer.whole())


def _logprobs(body: ChatCompletionRequest) -> int:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs:
        raise bad_request("top_logprobs needs logprobs to be true", "top_logprobs", "invalid_value")
    return -1


async def _prompt(request: Request, service: Service, body: ChatCompletionRequest) -> PromptText:
    field, wanted = "max_completion_tokens", body.max_completion_tokens
    if wanted is None:
        field, wanted = "max_tokens", body.max_tokens
    if wanted == 0:
        raise bad_request("max_tokens must be at least 1", field, "invalid_value")
    service.engine.ready()
    sources = sources_of_messages(service, body.messages)
    text = await prompt_of(service, body.messages, body.add_generation_prompt is not False, body.chat_template_kwargs)
    # The template writes the beginning-of-text token itself, if the model has one.
    ids = await encode(service, text, "messages", add_special_tokens=False)
    check_prompt(service, ids, "messages")
    ids, images = await with_images(request, service, ids, sources, body.cache_salt or "", "messages")
    with closed_on_error(images):
        most = output_tokens(service, len(ids), wanted, None, body.min_tokens, field)
    return PromptText(ids, most, images=images)


class _Answer:
    """Writes the answer to a chat request, whole or as events."""

    def __init__(self, service: Service, body: ChatCompletionRequest, call: Call) -> None:
        self._tokenizer = service.tokenizer
        self._call = call
        self._tops = body.top_logprobs or 0
        self._wants_logprobs = call.wishes.logprobs >= 0
        self._usage = body.wants_usage
        self._head = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": service.model_name}
        start = msgspec.json.encode({**self._head, "object": "chat.completion.chunk"})[:-1]
        self._template = EventTemplate(
            head=b"data: " + start + b',"choices":[{"index":',
            field=b',"delta":',
            before=b'{"content":',
            after=b"}",
            empty=b"{}",
            tail=b'}],"usage":null}\n\n' if self._usage else b"}]}\n\n",
            first=b'{"role":"assistant","content":""}',
        )

    def whole(self) -> dict[str, Any]:
        """The answer in one piece."""
        choices = []
        for choice in self._call.choices:
            choices.append(
                {
                    "index": choice.index,
                    "message": {"role": "assistant", "content": choice.output.text(), "refusal": None},
                    "logprobs": self._take_logprobs(choice),
                    "finish_reason": choice.output.finish,
                }
            )
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage_of(self._call)}

    def _take_logprobs(self, choice: Choice) -> dict[str, Any] | None:
        if not self._wants_logprobs:
            return None
        return chat_logprobs(self._tokenizer, choice.output.records(), self._tops)

    def of_choice(self, choice: Choice) -> bytes:
        """One event, the first time after one that names the role."""
        logprobs = self._take_logprobs(choice)
        shown = logprobs is not None and (logprobs["content"] or choice.output.has_text or choice.ended)
        return self._template.write(choice.output, choice.index, msgspec.json.encode(logprobs) if shown else None)

    def end(self) -> bytes:
        """Usage, if wanted, and the end."""
        if not self._usage:
            return DONE
        event = {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage_of(self._call)}
        return b"data: " + msgspec.json.encode(event) + b"\n\n" + DONE
