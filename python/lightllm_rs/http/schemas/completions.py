"""Body of /v1/completions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lightllm_rs.http.schemas.fields import Prompt
from lightllm_rs.http.schemas.sampling import EXTENSIONS, NO_EFFECT, SamplingBody

MAX_LOGPROBS = 20


class CompletionRequest(SamplingBody):
    """A prompt, or several, to be continued."""

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {
        **EXTENSIONS,
        "suffix": (None, ""),
        "response_format": (None, {"type": "text"}),
        "prompt_embeds": (None,),
    }
    IGNORED: ClassVar[frozenset[str]] = NO_EFFECT

    prompt: Prompt
    echo: bool | None = Field(None, description="The prompt is part of the text.")
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    add_special_tokens: bool | None = Field(None, description="Whether a text prompt gets its beginning-of-text token.")
