"""Fields of the OpenAI routes that say how tokens are drawn."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lightllm_rs.http.schemas.drawing import DrawingBody
from lightllm_rs.http.schemas.fields import MAX_ID, Body, Stop


class StreamOptions(Body):
    """`stream_options`."""

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {"continuous_usage_stats": (None, False)}
    IGNORED: ClassVar[frozenset[str]] = frozenset({"include_obfuscation"})

    include_usage: bool | None = None


class SamplingBody(DrawingBody):
    """What completions and chat completions share."""

    model: str | None = Field(None, description="Name of the served model.")
    max_tokens: Annotated[int, Field(ge=0)] | None = Field(None, description="Most tokens to generate.")
    min_tokens: Annotated[int, Field(ge=0, le=MAX_ID)] | None = Field(None, description="Tokens before any end.")
    stop: Stop = Field(None, description="Strings that end the text; they are not part of it.", validate_default=True)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


NO_EFFECT = frozenset({"metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})
"""Accepted on both routes: they tell the operator of a hosted service something, and nothing here."""

EXTENSIONS: dict[str, tuple[object, ...]] = {
    "use_beam_search": (None, False),
    "best_of": (None, 1),
    "length_penalty": (None, 1, 1.0),
    "truncate_prompt_tokens": (None,),
    "prompt_logprobs": (None,),
    "allowed_token_ids": (None, []),
    "bad_words": (None, []),
    "guided_json": (None,),
    "guided_regex": (None,),
    "guided_choice": (None,),
    "guided_grammar": (None,),
    "structured_outputs": (None,),
    "logits_processors": (None, []),
    "spaces_between_special_tokens": (None, True),
}
"""Fields that other servers know; here only at values that change nothing."""
