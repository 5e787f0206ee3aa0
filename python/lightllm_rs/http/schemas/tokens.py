"""Bodies of /tokenize and /detokenize."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from lightllm_rs.http.schemas.chat import MAX_MESSAGES, Message
from lightllm_rs.http.schemas.fields import MAX_ID, Body


class TokenizeRequest(Body):
    """A text or a conversation whose tokens are wanted."""

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {
        "chat_template": (None,),
        "tools": (None, []),
        "continue_final_message": (None, False),
    }
    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("exactly one of prompt and messages must be given")
        return self


class DetokenizeRequest(Body):
    """Token ids whose text is wanted."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, le=MAX_ID)]]
