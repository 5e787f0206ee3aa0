"""Fields of the OpenAI routes that say how tokens are drawn."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lightllm_rs.http.schemas.fields import MAX_ID, Body, LogitBias, Seed, Stop, TokenIds


class StreamOptions(Body):
    """`stream_options`."""

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {"continuous_usage_stats": (None, False)}
    IGNORED: ClassVar[frozenset[str]] = frozenset({"include_obfuscation"})

    include_usage: bool | None = None


class SamplingBody(Body):
    """What completions and chat completions share. None is "not given": the model's default, then the API's."""

    model: str | None = Field(None, description="Name of the served model.")
    n: Annotated[int, Field(ge=1)] | None = Field(None, description="Choices to make of each prompt.")
    max_tokens: Annotated[int, Field(ge=0)] | None = Field(None, description="Most tokens to generate.")
    min_tokens: Annotated[int, Field(ge=0, le=MAX_ID)] | None = Field(None, description="Tokens before any end.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(None, description="-1 and 0 keep everything.")
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Seed | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    logit_bias: LogitBias = Field(None, validate_default=True)
    stop: Stop = Field(None, description="Strings that end the text; they are not part of it.", validate_default=True)
    stop_token_ids: TokenIds = Field(None, validate_default=True)
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    cache_salt: Annotated[str, Field(max_length=256)] | None = Field(
        None, description="Requests with different salts never share cached prefixes."
    )

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


NO_EFFECT = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})
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
