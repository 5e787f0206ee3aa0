"""Bodies of LightLLM's own routes: /generate, /generate_stream and /tokens."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator

from lightllm_rs.http.schemas.drawing import DrawingBody
from lightllm_rs.http.schemas.fields import MAX_ID, Body, Stop, ids_in_range, is_ids

MAX_IMAGES = 10_000
"""More are not even looked at; the server's own limit is far below."""


def _inputs(value: Any) -> str | list[int]:
    if isinstance(value, str):
        return value
    if is_ids(value) and value:
        return ids_in_range(value)
    raise ValueError("must be a string or a list of token ids")


Inputs = Annotated[
    Any,
    AfterValidator(_inputs),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": MAX_ID}, "minItems": 1},
            ]
        }
    ),
]


class NativeParameters(DrawingBody):
    """`parameters` of a native request."""

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {
        "exponential_decay_length_penalty": (None, [1, 1], [1, 1.0]),
        "regular_constraint": (None, ""),
        "guided_grammar": (None, ""),
        "guided_json": (None, ""),
        "allowed_token_ids": (None, []),
        "best_of": (None, 1),
        "input_penalty": (None, False),
        "print_eos_token": (None, False),
        "add_spaces_between_special_tokens": (None, True),
        "image_max_patch_num": (None, -1),
        "return_all_prompt_logprobs": (None, False),
        "disable_prompt_cache": (None, False),
        "invalid_token_ids": (None, []),
        "move_kv_to_decode_node": (None,),
        "suggested_dp_index": (None, -1),
    }
    IGNORED: ClassVar[frozenset[str]] = frozenset({"group_request_id"})

    do_sample: bool | None = Field(None, description="Without it, decoding is greedy.")
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    min_new_tokens: Annotated[int, Field(ge=0, le=MAX_ID)] | None = None
    stop_sequences: Stop = Field(None, validate_default=True)
    add_special_tokens: bool | None = None
    return_details: bool | None = Field(None, description="/generate: the tokens with their log-probabilities too.")


class NativeImage(Body):
    """One image of a native request."""

    type: Literal["url", "base64"]
    data: str = Field(description="http(s)://, data: or file:// for url; without any such head for base64.")


class MultimodalParams(Body):
    """What a prompt holds beside text, in the order of its places in `inputs`."""

    UNSUPPORTED: ClassVar[dict[str, tuple[object, ...]]] = {"audios": (None, []), "videos": (None, [])}

    images: Annotated[list[NativeImage], Field(max_length=MAX_IMAGES, fail_fast=True)] | None = None


class GenerateRequest(Body):
    """A prompt to be continued."""

    inputs: Inputs
    parameters: NativeParameters = Field(default_factory=lambda: NativeParameters.model_validate({}))
    multimodal_params: MultimodalParams | None = None

    @field_validator("parameters", mode="before")
    @classmethod
    def _none_given(cls, value: object) -> object:
        return {} if value is None else value


class TokensRequest(Body):
    """A text whose tokens are to be counted."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"parameters"})

    text: Annotated[str, Field(min_length=1)]
    multimodal_params: MultimodalParams | None = None
