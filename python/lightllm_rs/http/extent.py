"""How much one HTTP request may ask for in all: choices, and what a whole answer holds until it leaves."""

from __future__ import annotations

from lightllm_rs.http.call import PromptText
from lightllm_rs.http.errors import bad_request
from lightllm_rs.http.sampling import Wishes
from lightllm_rs.http.service import Service

MAX_CHOICES = 256
"""Most choices of one HTTP request, all prompts together."""

MAX_LOGPROBS = 4_000_000
"""Log-probabilities of a whole answer, which are held until the last choice has ended."""


def check_choices(service: Service, prompts: int, n: int, n_field: str = "n") -> None:
    """Refuses more choices than a request may have, or than the engine could hold even when idle. Raises ApiError."""
    slots = service.engine.ready().slots
    if n > slots:
        raise bad_request(
            f"{n} choices of one prompt are more than the {slots} that run at once: lower {n_field}",
            n_field,
            "too_large",
        )
    room = service.settings.max_queued_requests + slots
    most = min(MAX_CHOICES, room)
    if prompts * n <= most:
        return
    field = n_field if n > 1 else "prompt"
    what = f"{prompts} prompts with {n} choices each" if prompts > 1 else f"{n} choices"
    raise bad_request(f"{what} are more than the {most} that one request may have: lower {field}", field, "too_large")


def check_whole_logprobs(prompts: list[PromptText], wishes: Wishes, length_field: str, tops_field: str | None) -> None:
    """Refuses a whole answer with too many log-probabilities to be held. Raises ApiError 400."""
    sampling = wishes.sampling
    positions = 0
    if sampling.logprobs >= 0:
        positions = sum(prompt.max_tokens for prompt in prompts)
    if sampling.prompt_logprobs >= 0:
        positions += sum(len(prompt.ids) for prompt in prompts)
    count = positions * wishes.n * (max(sampling.logprobs, sampling.prompt_logprobs) + 1)
    if count > MAX_LOGPROBS:
        lower = ", ".join(filter(None, (length_field, tops_field)))
        raise bad_request(
            f"the answer could have {count} log-probabilities, and at most {MAX_LOGPROBS} are allowed without stream: "
            f"lower {lower} or n, or set stream",
            length_field,
            "too_large",
        )
