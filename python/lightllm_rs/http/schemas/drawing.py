"""Fields that all generating routes share: how tokens are drawn, how a request stands among others, and
with whom it shares what is cached."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lightllm_rs.http.schemas.fields import Body, LogitBias, Seed, TokenIds

MAX_LABEL = 64
MAX_USER = 256
MAX_SALT = 256
MAX_DEADLINE_MS = 86_400_000.0


class DrawingBody(Body):
    """None is "not given": the model's default, then the API's."""

    n: Annotated[int, Field(ge=1)] | None = Field(None, description="Choices to make of each prompt.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(None, description="-1 and 0 keep everything.")
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Seed | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    logit_bias: LogitBias = Field(None, validate_default=True)
    stop_token_ids: TokenIds = Field(None, validate_default=True)
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None

    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = Field(
        None, description="Requests with a lower one go first; 0 if not given. Waiting makes it better with time."
    )
    deadline_ms: Annotated[float, Field(gt=0, le=MAX_DEADLINE_MS)] | None = Field(
        None, description="Milliseconds from the request's arrival in which its first token should be there."
    )
    user: Annotated[str, Field(max_length=MAX_USER)] | None = Field(
        None, description="Who asks: users of one key share the server fairly."
    )
    request_class: Annotated[str, Field(min_length=1, max_length=MAX_LABEL)] | None = Field(
        None, description="A label of the kind of request: outputs of one kind are expected to be of similar lengths."
    )
    cache_salt: Annotated[str, Field(max_length=MAX_SALT)] | None = Field(
        None, description="Requests with different salts never share cached prefixes or images."
    )
