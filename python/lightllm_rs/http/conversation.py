"""From the messages of a chat to the text of a prompt."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from lightllm_rs.http.errors import bad_request
from lightllm_rs.http.schemas.chat import Message
from lightllm_rs.http.schemas.content import TextPart
from lightllm_rs.http.service import Service
from lightllm_rs.tokenizer import ChatTemplateError

INLINE_MESSAGES = 64
INLINE_LETTERS = 16_384
"""Longer conversations, in either way, are rendered in a thread."""

ALLOWED_KWARGS = frozenset({"enable_thinking", "thinking", "reasoning_effort", "preserve_thinking", "date_string"})
"""Variables of a chat template that a request may set; each a boolean, a number or a short string."""

MAX_KWARG_LETTERS = 256


def check_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The variables that a request sets. Raises ApiError 400 for any that it may not."""
    for name, value in (kwargs or {}).items():
        where = f"chat_template_kwargs.{name[:60]}"
        if name not in ALLOWED_KWARGS:
            raise bad_request(
                f"{where} is not allowed (allowed: {', '.join(sorted(ALLOWED_KWARGS))})", where, "invalid_value"
            )
        if not (isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= MAX_KWARG_LETTERS)):
            raise bad_request(f"{where} must be a boolean, a number or a short string", where, "invalid_value")
    return kwargs or {}


def _plain(message: Message, keeps_developer: bool) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": _said(message)}
    if message.role == "developer" and not keeps_developer:
        turn["role"] = "system"
    for name in ("name", "tool_call_id", "tool_calls"):
        value = getattr(message, name)
        if value is not None:
            turn[name] = value
    return turn


def _said(message: Message) -> str | list[dict[str, str]]:
    """As chat templates know it; the places of images are in their order."""
    content = message.content or ""
    if isinstance(content, str):
        return content
    return [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image"} for part in content
    ]


def _letters(message: Message) -> int:
    content = message.content or ""
    if isinstance(content, str):
        return len(content)
    return sum(len(part.text) for part in content if isinstance(part, TextPart))


async def prompt_of(
    service: Service, messages: list[Message], add_generation_prompt: bool, kwargs: dict[str, Any] | None
) -> str:
    """The text of a conversation, by the model's chat template. Raises ApiError 400 with the template's message."""
    template = service.tokenizer.chat_template
    if template is None:
        raise bad_request(
            "this model has no chat template: use /v1/completions, or start the server with --chat-template",
            "messages",
            "no_chat_template",
        )
    for number, message in enumerate(messages):
        if message.content is None and not message.tool_calls:
            where = f"messages.{number}.content"
            raise bad_request(f"{where} is missing", where, "missing_field")
    variables = check_kwargs(kwargs)
    turns = [_plain(message, template.knows_developer) for message in messages]

    def render() -> str:
        return template.render(turns, add_generation_prompt=add_generation_prompt, **variables)

    try:
        letters = sum(map(_letters, messages))
        if len(turns) <= INLINE_MESSAGES and letters <= INLINE_LETTERS:
            return render()
        return await asyncio.get_running_loop().run_in_executor(service.threads, render)
    except ChatTemplateError as error:
        raise bad_request(re.sub(r"\s+", " ", str(error)), "messages", "chat_template") from None
