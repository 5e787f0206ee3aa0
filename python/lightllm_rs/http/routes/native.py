"""LightLLM's own routes: /generate, /generate_stream and /tokens."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lightllm_rs._core import Record
from lightllm_rs.http.answers import counted, json_response, key_of, service_of
from lightllm_rs.http.body import check_extras, parse_body
from lightllm_rs.http.call import Call, PromptText
from lightllm_rs.http.choice import Choice
from lightllm_rs.http.errors import bad_request
from lightllm_rs.http.extent import check_choices, check_whole_logprobs
from lightllm_rs.http.images import sources_of_native
from lightllm_rs.http.logprobs import finite
from lightllm_rs.http.prompt_images import closed_on_error, count_with_images, with_images
from lightllm_rs.http.prompts import check_prompt, encode, output_tokens
from lightllm_rs.http.sampling import wishes_of_native
from lightllm_rs.http.schemas.native import GenerateRequest, MultimodalParams, TokensRequest
from lightllm_rs.http.service import Service
from lightllm_rs.http.streaming import EventStream, finish
from lightllm_rs.media import Source

router = APIRouter()


@router.post("/generate")
async def generate(request: Request) -> Response:
    """Continues a prompt; the answer comes in one piece."""
    service = service_of(request)
    with counted(service) as began:
        body = await _parse(request, service)
        details = bool(body.parameters.return_details)
        call = await _call(request, body, began, stream=False, logprobs=0 if details else -1)
        await finish(request, call)
        only = len(call.choices) == 1

        def shaped(values: list[Any]) -> Any:
            return values[0] if only else values

        outputs = [choice.output for choice in call.choices]
        tokens = [[_token(service, record) for record in output.records()] for output in outputs]
        answer: dict[str, Any] = {
            "generated_text": [output.text() for output in outputs],
            "count_output_tokens": shaped([output.tokens for output in outputs]),
            "finish_reason": shaped([output.finish for output in outputs]),
            "prompt_tokens": call.prompt_tokens,
        }
        if details:
            answer["tokens"] = shaped(tokens)
        return json_response(answer)


@router.post("/generate_stream")
async def generate_stream(request: Request) -> Response:
    """Continues a prompt; an event for each token."""
    service = service_of(request)
    with counted(service) as began:
        body = await _parse(request, service)
        if (body.parameters.n or 1) > 1:
            raise bad_request("a native stream has one choice: leave n out", "parameters.n", "invalid_value")
        call = await _call(request, body, began, stream=True, logprobs=0)
        return EventStream(call, _Events(service))


@router.post("/tokens")
async def tokens(request: Request) -> Response:
    """Counts the tokens of a text."""
    service = service_of(request)
    body = await parse_body(request, service, TokensRequest)
    sources = _sources(service, body.multimodal_params)
    ids = await count_with_images(request, service, await encode(service, body.text, "text"), sources, "text")
    return json_response({"ntokens": len(ids)})


async def _parse(request: Request, service: Service) -> GenerateRequest:
    body = await parse_body(request, service, GenerateRequest)
    check_extras(body.parameters, service, "parameters.")
    return body


def _sources(service: Service, params: MultimodalParams | None) -> list[Source]:
    if params is not None:
        check_extras(params, service, "multimodal_params.")
        for number, image in enumerate(params.images or []):
            check_extras(image, service, f"multimodal_params.images.{number}.")
    return sources_of_native(service, params)


async def _call(request: Request, body: GenerateRequest, began: float, *, stream: bool, logprobs: int) -> Call:
    service, parameters = service_of(request), body.parameters
    sources = _sources(service, body.multimodal_params)
    wishes = wishes_of_native(parameters, service, key_of(request), logprobs)
    if isinstance(body.inputs, str):
        if not body.inputs:
            raise bad_request("the prompt must not be empty", "inputs", "empty_prompt")
        ids = await encode(
            service, body.inputs, "inputs", add_special_tokens=parameters.add_special_tokens is not False
        )
    else:
        ids = body.inputs
    check_prompt(service, ids, "inputs")
    check_choices(service, 1, wishes.n, "parameters.n")
    ids, images = await with_images(request, service, ids, sources, wishes.cache_salt, "inputs")
    with closed_on_error(images):
        least, field = parameters.min_new_tokens, "parameters.max_new_tokens"
        most = output_tokens(service, len(ids), parameters.max_new_tokens, None, least, field)
        prompt = PromptText(ids, most, images=images)
        if not stream:
            check_whole_logprobs([prompt], wishes, field, None)
        return Call(service, [prompt], wishes, began=began, stream=stream)


def _token(service: Service, record: Record) -> dict[str, Any]:
    return {
        "id": record.token,
        "text": record.text,
        "logprob": None if record.logprobs is None else finite(record.logprobs.chosen),
        "special": record.token in service.tokenizer.special,
    }


class _Events:
    """An event a token; the last one has the reason of the end."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._shown = 0

    def of_choice(self, choice: Choice) -> bytes:
        """The events of all tokens whose text is certain."""
        out = []
        output = choice.output
        records = output.records()
        output.text()  # the records have the text of the tokens, and the last one what the end let out
        for number, record in enumerate(records):
            last = choice.ended and number == len(records) - 1
            self._shown += 1
            token = _token(self._service, record)
            event = {
                "token": {**token, "count_output_tokens": self._shown, "prompt_tokens": choice.prompt_tokens},
                "generated_text": None,
                "finished": last,
                "finish_reason": output.finish if last else None,
                "details": None,
            }
            out.append(b"data:" + msgspec.json.encode(event) + b"\n\n")
        return b"".join(out)

    def end(self) -> bytes:
        """Nothing: the last token's event says that it is the last."""
        return b""
