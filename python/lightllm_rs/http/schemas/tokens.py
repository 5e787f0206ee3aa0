"""Bodies of /tokenize and /detokenize."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import model_validator

from lightllm_rs.http.schemas.chat import Messages
from lightllm_rs.http.schemas.fields import Body, RequiredTokenIds


class TokenizeRequest(Body):
    """A text or a conversation whose tokens are wanted."""

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {
        "chat_template": (None,),
        "tools": (None, []),
        "continue_final_message": (None, False),
    }
    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
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
    tokens: RequiredTokenIds
