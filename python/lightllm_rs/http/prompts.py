"""From prompts to token ids: bounded before they are tokenised, and off the event loop where they are long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lightllm_rs.http.errors import ApiError, bad_request
from lightllm_rs.http.service import Service

INLINE_LETTERS = 4096
"""Texts up to this length are tokenised on the event loop: a few hundred microseconds, less than a thread costs."""

SLACK = 4
"""A normalizer may drop letters, so a text may have this many times the letters of its longest possible tokens."""


def context_error(prompt: int, context: int, param: str) -> ApiError:
    """A prompt that leaves no room for an output."""
    return bad_request(
        f"the prompt has {prompt} tokens and the context of this model is {context} tokens, "
        "prompt and output together: shorten the prompt",
        param,
        "context_length_exceeded",
    )


async def encode_all(
    service: Service, texts: Sequence[str], param: str, *, add_special_tokens: bool = True
) -> list[list[int]]:
    """Token ids of some texts. Raises ApiError 400 for a text that no context can hold."""
    tokenizer = service.tokenizer
    context = service.engine.ready().context
    for text in texts:
        if len(text) > SLACK * tokenizer.longest * context:
            raise bad_request(
                f"the prompt has {len(text)} characters, more than the context of {context} tokens can hold: "
                "shorten it",
                param,
                "context_length_exceeded",
            )

    def work() -> list[list[int]]:
        return [tokenizer.encode(text, add_special_tokens) for text in texts]

    if sum(map(len, texts)) <= INLINE_LETTERS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(service.threads, work)


async def encode(service: Service, text: str, param: str, *, add_special_tokens: bool = True) -> list[int]:
    """Token ids of one text, likewise."""
    return (await encode_all(service, [text], param, add_special_tokens=add_special_tokens))[0]


def check_prompt(service: Service, ids: list[int], param: str) -> None:
    """Refuses prompts that are empty, too long or not of this vocabulary."""
    limits = service.engine.ready()
    if not ids:
        raise bad_request("the prompt must not be empty", param, "empty_prompt")
    if len(ids) >= limits.context:
        raise context_error(len(ids), limits.context, param)
    if max(ids) >= limits.vocab:
        raise bad_request(f"token id {max(ids)} is outside the vocabulary of {limits.vocab}", param, "invalid_value")


def output_tokens(
    service: Service, prompt: int, wanted: int | None, default: int | None, least: int | None, param: str
) -> int:
    """Most tokens to generate after a prompt of `prompt` tokens.

    Args:
        least: tokens before any end is allowed; more than the result is refused.
        wanted: what the request says; more than the context has room for is refused.
        default: for a request that does not say, cut to what the context has room for; None is all of it.
    """
    context = service.engine.ready().context
    room = context - prompt
    if wanted is None:
        most = room if default is None else min(default, room)
    elif wanted <= room:
        most = wanted
    else:
        raise bad_request(
            f"{param} is {wanted}, but the prompt has {prompt} tokens and the context of this model is {context} "
            f"tokens, prompt and output together: ask for at most {room}",
            param,
            "context_length_exceeded",
        )
    if least and least > most:
        field = param.replace("max_completion_", "max_").replace("max_", "min_")
        raise bad_request(
            f"{field} is {least}, but at most {most} tokens will be generated: raise {param}", field, "invalid_value"
        )
    return most
