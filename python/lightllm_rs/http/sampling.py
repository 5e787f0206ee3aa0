"""From a request's fields to the sampling settings that travel to the backend."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from lightllm_rs.http.body import check_extras
from lightllm_rs.http.errors import bad_request
from lightllm_rs.http.schemas.drawing import DrawingBody
from lightllm_rs.http.schemas.native import NativeParameters
from lightllm_rs.http.schemas.sampling import SamplingBody
from lightllm_rs.http.service import Service
from lightllm_rs.http.standing import Standing, standing_of
from lightllm_rs.messages.frames import pack_f32, pack_u32
from lightllm_rs.messages.sampling import Sampling

GREEDY_BELOW = 1e-4
"""Lower temperatures would overflow in the division of the logits, and pick the best token anyway."""

_U64 = 2**64 - 1


@dataclass(frozen=True)
class Wishes:
    """What a request wants of each of its choices, whatever route it came by.

    Attributes:
        n: choices of each prompt.
        stops: stop strings.
    """

    sampling: Sampling
    n: int
    stops: tuple[str, ...]
    include_stop: bool
    skip_special: bool
    standing: Standing
    cache_salt: str = ""

    @property
    def logprobs(self) -> int:
        """Alternatives of each token; -1 for no log-probabilities."""
        return self.sampling.logprobs

    @property
    def sibling_seeds(self) -> list[int]:
        """Seeds of the choices after the first: each has one of its own."""
        return [(self.sampling.seed + number) & _U64 for number in range(1, self.n)]


def _check_counts(service: Service, n: int, stops: list[str], biases: dict[int, float], stop_field: str) -> None:
    settings = service.settings
    if n > settings.max_n:
        raise bad_request(f"n must be at most {settings.max_n}", "n", "invalid_value")
    if len(stops) > settings.max_stop_strings:
        raise bad_request(
            f"{stop_field} has {len(stops)} strings and at most {settings.max_stop_strings} are allowed",
            stop_field,
            "invalid_value",
        )
    if len(biases) > settings.max_logit_bias:
        raise bad_request(
            f"logit_bias has {len(biases)} entries and at most {settings.max_logit_bias} are allowed",
            "logit_bias",
            "invalid_value",
        )


def _check_ids(ids: list[int], vocab: int, field: str) -> None:
    if ids and max(ids) >= vocab:
        raise bad_request(f"{field}: token id {max(ids)} is outside the vocabulary of {vocab}", field, "invalid_value")


def wishes_of(body: SamplingBody, service: Service, key: str, logprobs: int, prompt_logprobs: int = -1) -> Wishes:
    """The settings of an OpenAI request. Raises ApiError 400, or 503 while there is no engine.

    Args:
        key: names the API key that let it in.
        logprobs, prompt_logprobs: alternatives of each token; -1 for no log-probabilities.
    """
    if body.stream_options is not None:
        if not body.stream:
            raise bad_request("stream_options needs stream to be true", "stream_options", "invalid_value")
        check_extras(body.stream_options, service, "stream_options.")
    temperature = service.defaults.temperature if body.temperature is None else body.temperature
    wishes = _wishes(body, service, key, temperature, body.stop, "", "stop")
    return replace(
        wishes,
        sampling=msgspec.structs.replace(
            wishes.sampling,
            min_tokens=body.min_tokens or 0,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
        ),
    )


def wishes_of_native(body: NativeParameters, service: Service, key: str, logprobs: int) -> Wishes:
    """The settings of a native request, which is greedy unless it says `do_sample`."""
    temperature = (service.defaults.temperature or 1.0) if body.temperature is None else body.temperature
    wishes = _wishes(
        body,
        service,
        key,
        temperature if body.do_sample else 0.0,
        body.stop_sequences,
        "parameters.",
        "parameters.stop_sequences",
    )
    sampling = msgspec.structs.replace(wishes.sampling, min_tokens=body.min_new_tokens or 0, logprobs=logprobs)
    return replace(wishes, sampling=sampling)


def _wishes(
    body: DrawingBody, service: Service, key: str, temperature: float, stops: list[str], prefix: str, stop_field: str
) -> Wishes:
    """What all routes have in common. `prefix` stands before the names of fields in messages."""
    vocab = service.engine.ready().vocab
    defaults = service.defaults
    _check_counts(service, body.n or 1, stops, body.logit_bias, stop_field)
    _check_ids(list(body.logit_bias), vocab, prefix + "logit_bias")
    _check_ids(body.stop_token_ids, vocab, prefix + "stop_token_ids")
    sampling = Sampling(
        temperature=temperature if temperature >= GREEDY_BELOW else 0.0,
        top_p=defaults.top_p if body.top_p is None else body.top_p,
        top_k=max(0, defaults.top_k if body.top_k is None else body.top_k),
        min_p=defaults.min_p if body.min_p is None else body.min_p,
        seed=service.seeds.getrandbits(64) if body.seed is None else body.seed & _U64,
        presence=body.presence_penalty or 0.0,
        frequency=body.frequency_penalty or 0.0,
        repetition=defaults.repetition if body.repetition_penalty is None else body.repetition_penalty,
        end_ids=_end_ids(service, bool(body.ignore_eos), body.stop_token_ids),
        bias_ids=pack_u32(list(body.logit_bias)),
        bias_values=pack_f32(list(body.logit_bias.values())),
    )
    return Wishes(
        sampling=sampling,
        n=body.n or 1,
        stops=tuple(stops),
        include_stop=bool(body.include_stop_str_in_output),
        skip_special=body.skip_special_tokens is not False,
        standing=standing_of(body, service, key),
        cache_salt=body.cache_salt or "",
    )


def _end_ids(service: Service, ignore_eos: bool, stop_token_ids: list[int]) -> bytes:
    ends = () if ignore_eos else service.defaults.end_ids
    return pack_u32(list(dict.fromkeys((*ends, *stop_token_ids))))
