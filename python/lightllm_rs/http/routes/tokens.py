"""/tokenize and /detokenize."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lightllm_rs.http.answers import check_model, json_response, service_of
from lightllm_rs.http.body import parse_body
from lightllm_rs.http.conversation import prompt_of
from lightllm_rs.http.errors import bad_request
from lightllm_rs.http.images import sources_of_messages
from lightllm_rs.http.prompt_images import count_with_images
from lightllm_rs.http.prompts import encode
from lightllm_rs.http.schemas.tokens import DetokenizeRequest, TokenizeRequest

router = APIRouter()


@router.post("/tokenize")
async def tokenize(request: Request) -> Response:
    """The token ids of a text or of a conversation."""
    service = service_of(request)
    body = await parse_body(request, service, TokenizeRequest)
    check_model(service, body.model)
    limits = service.engine.ready()
    if body.messages is not None:
        sources = sources_of_messages(service, body.messages)
        text = await prompt_of(
            service, body.messages, body.add_generation_prompt is not False, body.chat_template_kwargs
        )
        ids = await encode(service, text, "messages", add_special_tokens=bool(body.add_special_tokens))
        ids = await count_with_images(request, service, ids, sources, "messages")
    else:
        assert body.prompt is not None, "the schema demands one of the two"
        ids = await encode(service, body.prompt, "prompt", add_special_tokens=body.add_special_tokens is not False)
    answer: dict[str, Any] = {"tokens": ids, "count": len(ids), "max_model_len": limits.context}
    if body.return_token_strs:
        answer["token_strs"] = [service.tokenizer.token_letters(token) for token in ids]
    return json_response(answer)


@router.post("/detokenize")
async def detokenize(request: Request) -> Response:
    """The text of some token ids."""
    service = service_of(request)
    body = await parse_body(request, service, DetokenizeRequest)
    check_model(service, body.model)
    vocab = service.engine.ready().vocab
    if body.tokens and max(body.tokens) >= vocab:
        raise bad_request(
            f"token id {max(body.tokens)} is outside the vocabulary of {vocab}", "tokens", "invalid_value"
        )
    return json_response({"prompt": service.tokenizer.decode(body.tokens)})
