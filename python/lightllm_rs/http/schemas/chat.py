"""Body of /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from lightllm_rs.http.schemas.content import Content
from lightllm_rs.http.schemas.fields import Body
from lightllm_rs.http.schemas.sampling import EXTENSIONS, NO_EFFECT, SamplingBody

MAX_TOP_LOGPROBS = 20
MAX_MESSAGES = 20_000


class Message(Body):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]


class ChatCompletionRequest(SamplingBody):
    """A conversation whose next turn is wanted."""

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {
        **EXTENSIONS,
        "tools": (None, []),
        "tool_choice": (None, "none", "auto"),
        "parallel_tool_calls": (None, True, False),
        "functions": (None, []),
        "function_call": (None, "none", "auto"),
        "response_format": (None, {"type": "text"}),
        "audio": (None,),
        "modalities": (None, ["text"]),
        "prediction": (None,),
        "reasoning_effort": (None,),
        "verbosity": (None, "medium"),
        "web_search_options": (None,),
        "continue_final_message": (None, False),
        "documents": (None, []),
        "echo": (None, False),
        "chat_template": (None,),
    }
    IGNORED: ClassVar[frozenset[str]] = NO_EFFECT

    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Most tokens to generate; the newer name of max_tokens."
    )
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    add_generation_prompt: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = Field(
        None, description="Variables for the model's chat template; only some names are allowed."
    )
