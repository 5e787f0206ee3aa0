"""One HTTP request that generates: its choices, and the one waiter that answers it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightllm_rs._core import StopSet, TextOutput
from lightllm_rs.http.call_images import CallImages
from lightllm_rs.http.choice import Choice
from lightllm_rs.http.errors import IMAGES_LOST, ApiError
from lightllm_rs.http.sampling import Wishes
from lightllm_rs.http.service import Service

if TYPE_CHECKING:
    from lightllm_rs.http.prompt_images import PromptImages
    from lightllm_rs.messages.images import ImageSpan


@dataclass(frozen=True)
class PromptText:
    """A prompt, ready to run.

    Attributes:
        text: as it is echoed; "" where it is not.
        images: whose tokens are among `ids`; None if there are none.
        max_tokens: most tokens to generate; 0 runs the prompt alone.
    """

    ids: list[int]
    max_tokens: int
    text: str = ""
    images: PromptImages | None = None


class Call:
    """The choices of one HTTP request and what became of them.

    All methods run on the event loop. The waiter is woken at most once a step, however many choices moved.

    Args:
        stream: whether the waiter wants every step, or only the end.

    Attributes:
        error: why it failed, if it did.
        gone: the client left.
        moved: choices with something new since the waiter looked.
        on_news: called in place of `wake` when something came.
        began, submitted: `time.perf_counter()` of the arrival, and of the way to the router (0 before).
    """

    def __init__(
        self,
        service: Service,
        prompts: list[PromptText],
        wishes: Wishes,
        *,
        began: float,
        stream: bool,
    ) -> None:
        self.service = service
        self.engine = service.engine
        self.observer = service.observer
        self.prompts = prompts
        self.wishes = wishes
        self.stream = stream
        images = prompts[0].images  # who has several prompts has none
        self.images = None if images is None else CallImages(service, images)
        self.error: ApiError | None = None
        self.gone = False
        self.moved: list[Choice] = []
        self.began = began
        self.submitted = 0.0
        self.on_news: Callable[[], None] = self.wake
        self._waiter: asyncio.Future[None] | None = None
        stops = StopSet(wishes.stops) if wishes.stops else None
        self.choices = [
            Choice(
                self,
                number * wishes.n + sibling,
                number,
                len(prompt.ids),
                TextOutput(
                    service.tokenizer.detokenizer(wishes.skip_special),
                    stops=stops,
                    include_stop=wishes.include_stop,
                    min_tokens=wishes.sampling.min_tokens,
                    records=wishes.logprobs >= 0,
                    drop=prompt.max_tokens == 0,
                    quiet=not stream,
                    opening=prompt.text,
                    began=began,
                ),
            )
            for number, prompt in enumerate(prompts)
            for sibling in range(wishes.n)
        ]
        self._running = len(self.choices)

    def submit(self) -> None:
        """Sends all choices to the router, or has that done once the images have room. Raises ApiError 503 while there
        is no engine."""
        self.engine.ready()
        self.service.calls.add(self)
        if self.images is None:
            self.send()
        else:
            self.images.start(self)

    def send(self, spans: Sequence[ImageSpan] = (), position_offset: int = 0) -> None:
        """Sends all choices to the router: for the first time, or after `withdraw`. Raises ApiError 503 likewise."""
        self.engine.ready()
        if not self.submitted:
            self.submitted = time.perf_counter()
            self.observer.submitted(self)
        wishes = self.wishes
        waited = time.perf_counter() - self.began
        for number, prompt in enumerate(self.prompts):
            choices = self.choices[number * wishes.n : (number + 1) * wishes.n]
            self.engine.submit(choices, prompt.ids, max(1, prompt.max_tokens), wishes, waited, spans, position_offset)

    def image_ready(self, image: int) -> None:
        """An image of the prompt is there."""
        self.engine.image_ready([choice.number for choice in self.choices if not choice.ended], image)

    @property
    def has_output(self) -> bool:
        """Whether anything was generated: the call cannot be sent again."""
        return any(choice.ended or choice.output.tokens for choice in self.choices)

    def withdraw(self) -> None:
        """What was sent is not wanted any more; `send` may follow."""
        self._abort()

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self._running == 0 or self.error is not None or self.gone

    def touch(self, choice: Choice) -> None:
        """A choice has something new."""
        if self.images is not None:
            self.images.generated()
        if choice.ended:
            self._running -= 1
        if not choice.queued:
            choice.queued = True
            self.moved.append(choice)
        if self.stream or self._running == 0:
            self.on_news()

    def wake(self) -> None:
        """Lets the waiter look."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def awaited(self) -> bool:
        """Whether the waiter sleeps: `wake` would let it look."""
        return self._waiter is not None and not self._waiter.done()

    async def wait(self) -> None:
        """Until something new may be there. For one waiter."""
        if (self.moved and self.stream) or self.done:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take_moved(self) -> list[Choice]:
        """The choices with something new, each once."""
        moved, self.moved = self.moved, []
        for choice in moved:
            choice.queued = False
            choice.output.look()
        return moved

    def fail(self, error: ApiError) -> None:
        """Ends all choices with an error; the first one counts. A call whose images were lost may be sent again."""
        if self.error is None and not self.gone and self._running:
            if self.images is not None and error.code == IMAGES_LOST and self.images.again(self):
                return
            self.error = error
            self._abort()
            self.wake()

    def leave(self) -> None:
        """The client has gone: what still runs ends at once."""
        if not self.gone and not self.done:
            self.gone = True
            self._abort()
            self.wake()

    def close(self) -> None:
        """The answer is over, however it went; what still runs ends."""
        if self.images is not None:
            self.images.close()
        if self in self.service.calls:
            self.service.calls.discard(self)
            self.observer.ended(self, time.perf_counter())
            self._abort()

    def _abort(self) -> None:
        numbers = [choice.number for choice in self.choices if not choice.ended and choice.number]
        if numbers:
            self.engine.abort(numbers)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts, each counted once."""
        return sum(len(prompt.ids) for prompt in self.prompts)

    @property
    def output_tokens(self) -> int:
        """Tokens of all choices."""
        return sum(choice.output.tokens for choice in self.choices)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that the prefix cache had, for the first choice of each prompt."""
        return sum(choice.output.cached_tokens for choice in self.choices[:: self.wishes.n])
