"""Sampling settings of one request, as they travel from HTTP through the router to the backend."""

from __future__ import annotations

import msgspec


class Sampling(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How the next token of a request is drawn. All fields are validated by the HTTP process.

    Attributes:
        temperature: 0 means greedy.
        top_p: 1 keeps everything.
        top_k: 0 keeps everything.
        min_p: 0 keeps everything.
        seed: 64-bit seed of the counter-based generator; the counter is the position of the drawn token.
        presence, frequency: subtracted from the logits of tokens already generated (0 is neutral).
        repetition: divides or multiplies the logits of tokens in prompt or output (1 is neutral).
        min_tokens: end ids are masked until so many tokens were generated.
        logprobs: -1 for none, else how many alternatives are reported beside the chosen token.
        prompt_logprobs: -1 for none, else the same for each token of the prompt.
        end_ids: u32 words; token ids that end the request (empty with `ignore_eos`).
        bias_ids, bias_values: u32 and f32 words; added to the logits.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    min_tokens: int = 0
    logprobs: int = -1
    prompt_logprobs: int = -1
    end_ids: bytes = b""
    bias_ids: bytes = b""
    bias_values: bytes = b""

    @property
    def wants_history(self) -> bool:
        """Whether the backend needs all known token ids when the request is attached to a slot."""
        return self.presence != 0.0 or self.frequency != 0.0 or self.repetition != 1.0 or self.prompt_logprobs >= 0


class TokenLogprobs(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Log-probabilities at one position.

    Attributes:
        chosen: natural logarithm of the probability of the token that stands there, after penalties and bias
            and before temperature and truncation.
        ids, values: u32 and f32 words; the most probable alternatives, best first.
    """

    chosen: float
    ids: bytes
    values: bytes
