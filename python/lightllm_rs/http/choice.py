"""One output of a request, as the answer uses it. Its text is made in Rust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightllm_rs._core import TextOutput
from lightllm_rs.http.errors import ApiError

if TYPE_CHECKING:
    from lightllm_rs.http.call import Call


class Choice:
    """One request at the router, and its place in the answer.

    Attributes:
        index: number among the choices of the answer.
        prompt: number of its prompt; `prompt_tokens` is that prompt's length.
        output: takes the rows of the router, and keeps what the answer has not used yet.
        number: of the request at the router; 0 before it was sent.
        ended: nothing more will come.
    """

    __slots__ = ("call", "ended", "index", "number", "output", "prompt", "prompt_tokens", "queued")

    def __init__(self, call: Call, index: int, prompt: int, prompt_tokens: int, output: TextOutput) -> None:
        self.call = call
        self.index = index
        self.prompt = prompt
        self.prompt_tokens = prompt_tokens
        self.output = output
        self.number = 0
        self.ended = False
        self.queued = False  # in the call's list of choices that have something new

    def moved(self, ended: bool) -> None:
        """The output has something new; `ended`: it is the last."""
        self.ended = ended
        self.call.touch(self)

    def fail(self, error: ApiError) -> None:
        """The request could not be served: so ends the whole answer."""
        self.call.fail(error)
