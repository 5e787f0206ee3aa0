"""What was asked of a server, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prompt:
    """One request to make.

    Attributes:
        text: the prompt.
        tokens: of the prompt by our tokenizer, 0 if that is not known.
        output_tokens: most tokens of the answer.
    """

    text: str
    tokens: int
    output_tokens: int


@dataclass
class Outcome:
    """What one request saw. Times are seconds of `time.perf_counter`, which all processes of a machine share.

    Attributes:
        began: when it was sent.
        first: when the first text came; 0 if none did.
        last: when the last text came.
        gaps: seconds between one event with text and the next.
        prompt_tokens, output_tokens: as the server counts them; our own count of the prompt, and of the events with
            text, where the server does not tell.
        error: why it failed; "" if it did not.
    """

    began: float
    first: float = 0.0
    last: float = 0.0
    gaps: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str = ""

    @property
    def ttft(self) -> float:
        """Seconds to the first text."""
        return self.first - self.began

    @property
    def e2el(self) -> float:
        """Seconds from end to end: to the last text."""
        return self.last - self.began

    @property
    def tpot(self) -> float | None:
        """Mean seconds of each token after the first; None if there is only one."""
        return (self.last - self.first) / (self.output_tokens - 1) if self.output_tokens > 1 else None
