"""From a request's fields to the sampling settings that travel to the backend."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from lightllm_rs.http.body import check_extras
from lightllm_rs.http.errors import bad_request
from lightllm_rs.http.schemas.native import NativeParameters
from lightllm_rs.http.schemas.sampling import SamplingBody
from lightllm_rs.http.service import Service
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
        logprobs: alternatives of each token; -1 for no log-probabilities.
    """

    sampling: Sampling
    n: int
    stops: tuple[str, ...]
    include_stop: bool
    skip_special: bool
    cache_salt: str

    @property
    def logprobs(self) -> int:
        return self.sampling.logprobs

    def of_choice(self, number: int) -> Sampling:
        """The settings of one of `n`: each has a seed of its own."""
        return self.sampling if not number else _with_seed(self.sampling, self.sampling.seed + number)


def _with_seed(sampling: Sampling, seed: int) -> Sampling:
    return msgspec.structs.replace(sampling, seed=seed & _U64)


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


def wishes_of(body: SamplingBody, service: Service, logprobs: int, prompt_logprobs: int = -1) -> Wishes:
    """The settings of an OpenAI request. Raises ApiError 400, or 503 while there is no engine."""
    vocab = service.engine.ready().vocab
    defaults = service.defaults
    if body.stream_options is not None:
        if not body.stream:
            raise bad_request("stream_options needs stream to be true", "stream_options", "invalid_value")
        check_extras(body.stream_options, service, "stream_options.")
    _check_counts(service, body.n or 1, body.stop, body.logit_bias, "stop")
    _check_ids(list(body.logit_bias), vocab, "logit_bias")
    _check_ids(body.stop_token_ids, vocab, "stop_token_ids")
    temperature = defaults.temperature if body.temperature is None else body.temperature
    sampling = Sampling(
        temperature=temperature if temperature >= GREEDY_BELOW else 0.0,
        top_p=defaults.top_p if body.top_p is None else body.top_p,
        top_k=max(0, defaults.top_k if body.top_k is None else body.top_k),
        min_p=defaults.min_p if body.min_p is None else body.min_p,
        seed=service.seeds.getrandbits(64) if body.seed is None else body.seed & _U64,
        presence=body.presence_penalty or 0.0,
        frequency=body.frequency_penalty or 0.0,
        repetition=defaults.repetition if body.repetition_penalty is None else body.repetition_penalty,
        min_tokens=body.min_tokens or 0,
        logprobs=logprobs,
        prompt_logprobs=prompt_logprobs,
        end_ids=_end_ids(service, bool(body.ignore_eos), body.stop_token_ids),
        bias_ids=pack_u32(list(body.logit_bias)),
        bias_values=pack_f32(list(body.logit_bias.values())),
    )
    return Wishes(
        sampling=sampling,
        n=body.n or 1,
        stops=tuple(body.stop),
        include_stop=bool(body.include_stop_str_in_output),
        skip_special=body.skip_special_tokens is not False,
        cache_salt=body.cache_salt or "",
    )


def wishes_of_native(body: NativeParameters, service: Service, logprobs: int) -> Wishes:
    """The settings of a native request, which is greedy unless it says `do_sample`."""
    vocab = service.engine.ready().vocab
    defaults = service.defaults
    _check_counts(service, body.n or 1, body.stop_sequences, body.logit_bias, "parameters.stop_sequences")
    _check_ids(list(body.logit_bias), vocab, "parameters.logit_bias")
    _check_ids(body.stop_token_ids, vocab, "parameters.stop_token_ids")
    temperature = (defaults.temperature or 1.0) if body.temperature is None else body.temperature
    greedy = not body.do_sample or temperature < GREEDY_BELOW
    sampling = Sampling(
        temperature=0.0 if greedy else temperature,
        top_p=defaults.top_p if body.top_p is None else body.top_p,
        top_k=max(0, defaults.top_k if body.top_k is None else body.top_k),
        min_p=defaults.min_p if body.min_p is None else body.min_p,
        seed=service.seeds.getrandbits(64) if body.seed is None else body.seed & _U64,
        presence=body.presence_penalty or 0.0,
        frequency=body.frequency_penalty or 0.0,
        repetition=defaults.repetition if body.repetition_penalty is None else body.repetition_penalty,
        min_tokens=body.min_new_tokens or 0,
        logprobs=logprobs,
        end_ids=_end_ids(service, bool(body.ignore_eos), body.stop_token_ids),
        bias_ids=pack_u32(list(body.logit_bias)),
        bias_values=pack_f32(list(body.logit_bias.values())),
    )
    return Wishes(
        sampling=sampling,
        n=body.n or 1,
        stops=tuple(body.stop_sequences),
        include_stop=bool(body.include_stop_str_in_output),
        skip_special=body.skip_special_tokens is not False,
        cache_salt="",
    )


def _end_ids(service: Service, ignore_eos: bool, stop_token_ids: list[int]) -> bytes:
    ends = () if ignore_eos else service.defaults.end_ids
    return pack_u32(list(dict.fromkeys((*ends, *stop_token_ids))))
