"""What a fake router answers to requests."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec
import numpy as np

from helpers.tiny_models import IM_END, tiny_tokenizer
from lightllm_rs.messages import requests
from lightllm_rs.messages.frames import pack_f32, pack_u32, unpack_u32
from lightllm_rs.messages.sampling import TokenLogprobs

CONTEXT, VOCAB = 256, 384

Step = requests.OutputRow | requests.Failed | None
Script = Callable[[requests.Add], Generator[Step, None, None]]


def token_logprobs(token: int, count: int) -> TokenLogprobs:
    """Made-up log-probabilities: the chosen token first, then its successors."""
    ids = [(token + step) % VOCAB for step in range(count)]
    return TokenLogprobs(-0.5, pack_u32(ids), pack_f32([-0.5 - step for step in range(count)]))


def rows_of(add: requests.Add, ids: list[int], ends: bool = True) -> Generator[Step, None, None]:
    """One token a step, at most `add.max_tokens`; then an end token if the text `ends` and there is room."""
    if ends and add.sampling.end_ids:
        ids = [*ids, int(unpack_u32(add.sampling.end_ids)[0])]
    prompt = unpack_u32(add.prompt).tolist()
    for number, token in enumerate(ids[: add.max_tokens]):
        is_end = ends and bool(add.sampling.end_ids) and number + 1 == len(ids)
        is_last = number + 1 == min(add.max_tokens, len(ids))
        row = requests.OutputRow(
            add.request,
            pack_u32([token]),
            requests.STOP if is_end else requests.LENGTH if is_last else requests.RUNNING,
            requests.Admission(1, 10) if number == 0 else None,
            [token_logprobs(token, add.sampling.logprobs)] if add.sampling.logprobs >= 0 else None,
        )
        if number == 0 and add.sampling.prompt_logprobs >= 0:
            entries = [token_logprobs(token, add.sampling.prompt_logprobs) for token in prompt[1:]]
            row = msgspec.structs.replace(row, prompt_start=1, prompt_logprobs=entries)
        yield row


def says(text: str, ends: bool = True) -> Script:
    """A model that always says `text`."""
    ids = tiny_tokenizer().encode(text).ids
    return lambda add: rows_of(add, ids, ends)


def says_ids(ids: list[int], ends: bool = True) -> Script:
    """The same, with the tokens given."""
    return lambda add: rows_of(add, ids, ends)


def fails(kind: str, message: str, retry_after: int = 0) -> Script:
    """A router that refuses."""

    def script(add: requests.Add) -> Generator[Step, None, None]:
        yield requests.Failed(add.request, kind, message, retry_after)

    return script


def never(add: requests.Add) -> Generator[Step, None, None]:
    """A model that never says anything."""
    while True:
        yield None


def choices_of(add: requests.Add) -> list[requests.Add]:
    """The request and its siblings, each as if it had come alone."""
    alone = msgspec.structs.replace(add, siblings=[])
    siblings = [
        msgspec.structs.replace(
            alone, request=sibling.request, sampling=msgspec.structs.replace(add.sampling, seed=sibling.seed)
        )
        for sibling in add.siblings
    ]
    return [alone, *siblings]


def prompt_ids(add: requests.Add) -> list[int]:
    """Token ids of a request's prompt."""
    ids: np.ndarray[Any, Any] = unpack_u32(add.prompt)
    return [int(token) for token in ids]


END_ID = IM_END
