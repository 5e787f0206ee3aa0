"""The compiled part: the scheduler, the simulator, the router process.

Everything here is exported under better names by `lightllm_rs.scheduling`, `lightllm_rs.simulate` and the processes.
Times are integers in nanoseconds of any clock that does not run backwards. Wherever an argument has the wrong type,
`TypeError` is raised; where an integer is out of its range, `InvalidArgument`.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, ClassVar, Protocol, TypeAlias, final

import numpy as np
from typing_extensions import Buffer

_Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

__all__ = [
    "Admission",
    "Attach",
    "BadImage",
    "BadResult",
    "CacheClient",
    "CacheCorrupt",
    "CacheError",
    "CacheGone",
    "CacheManagerError",
    "CacheRefused",
    "CacheTimeout",
    "CacheTooLarge",
    "CacheView",
    "ClockRanBackwards",
    "ContextExceeded",
    "DeadlineMissed",
    "Detokenizer",
    "Difference",
    "DuplicateId",
    "EmptyPrompt",
    "EventTemplate",
    "FrameError",
    "InputError",
    "InvalidArgument",
    "InvalidConfig",
    "Lease",
    "Logprobs",
    "News",
    "NoSuchImage",
    "NothingToDo",
    "OrderConfig",
    "Output",
    "Pieces",
    "PolicyConfig",
    "PromptTooLong",
    "QueueFull",
    "Record",
    "ReplayReport",
    "Request",
    "RouterError",
    "Row",
    "RowResult",
    "Scheduler",
    "SchedulerBroken",
    "SchedulerConfig",
    "SchedulerError",
    "Stats",
    "StepPlan",
    "StepResult",
    "StopSet",
    "TextOutput",
    "TextStreams",
    "TooLargeForPool",
    "TooManySiblings",
    "UnexpectedStep",
    "Want",
    "break_scheduler",
    "past_future_paper",
    "reencode_frame",
    "replay_journal",
    "run_cache_manager",
    "run_router",
    "simulate",
    "summarize_journal",
]

# Errors of the scheduler. A call that raises one has changed nothing.

class SchedulerError(Exception):
    """A call that the scheduler refuses. Its state is as before the call."""

class InvalidArgument(SchedulerError, ValueError):
    """An argument is out of its range."""

    parameter: str
    """Which one, with its index in a sequence: `prompt[3]`."""
    reason: str
    """What is wrong with it, and what is allowed."""

class InvalidConfig(SchedulerError, ValueError):
    """A setting is out of its range, or two contradict each other."""

    setting: str
    """Name of the setting."""
    reason: str
    """What is wrong and what would be right."""

class ClockRanBackwards(SchedulerError, ValueError):
    """`now` is earlier than in a call before."""

    now: int
    latest: int

class QueueFull(SchedulerError):
    """The queue is at its bound; nothing was queued."""

    requests: int
    """Requests that wait."""
    tokens: int
    """Their prompt tokens."""
    retry_after_s: int
    """Estimate of when a retry is worth it, in seconds, from 1 to 60."""

class DeadlineMissed(SchedulerError):
    """The first token can't be there by the deadline, and late ones are refused (`OrderConfig.refuse_late`)."""

    retry_after_s: int
    """Estimate of when a retry is worth it, in seconds, from 1 to 60."""

class PromptTooLong(SchedulerError):
    """The prompt alone is longer than the context."""

    prompt: int
    context: int

class ContextExceeded(SchedulerError):
    """Prompt and output together are longer than the context."""

    prompt: int
    max_tokens: int
    context: int

class TooLargeForPool(SchedulerError):
    """The request would not fit into the KV cache if it ran alone."""

    needed: int
    """Pages of the prompt and the output."""
    pages: int
    """Pages of the whole pool."""

class TooManySiblings(SchedulerError):
    """More outputs of one prompt than requests can run at once."""

    requests: int
    slots: int

class BadImage(SchedulerError):
    """The images of a prompt are not in order, not apart, or not within it."""

    image: int
    """Index of the image."""
    reason: str

class NoSuchImage(SchedulerError):
    """A request has no image of this index."""

    request: int
    image: int
    images: int
    """Images of the request."""

class EmptyPrompt(SchedulerError):
    """A prompt has one token at least."""

class DuplicateId(SchedulerError):
    """A request with this id has not ended yet."""

    request: int

class NothingToDo(SchedulerError):
    """No token was asked for, and no log-probabilities of the prompt either."""

class UnexpectedStep(SchedulerError):
    """A result for a step that is not the oldest unanswered one."""

    got: int
    expected: int | None
    """The oldest step without a result, if there is one."""

class BadResult(SchedulerError):
    """A result that contradicts its plan."""

    step: int
    row: int
    reason: str

class SchedulerBroken(SchedulerError, RuntimeError):
    """An invariant of the scheduler does not hold: a fault of this program. Every later call raises this again."""

    reason: str

# Settings.

@final
class PolicyConfig:
    """An admission policy and its parameters: how much room running requests are expected to need.

    `docs/admission.md` describes each policy.
    """

    NAMES: ClassVar[list[str]]
    """Names of all policies."""

    def __new__(cls, name: str, **parameters: float) -> PolicyConfig:
        """A policy with some of its parameters changed; switches are 0 or 1.

        Raises:
            InvalidConfig: there is no such policy or parameter, or a value is out of its range.
        """

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> dict[str, float]:
        """All parameters, as they are in force."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class OrderConfig:
    """Which of the waiting requests is asked first. Times are in nanoseconds."""

    def __new__(
        cls,
        *,
        priority_age_ns: int = 5000000000,
        tenant_quantum: int = 256,
        ttft_target_ns: int = 0,
        refuse_late: bool = False,
        bypass_limit: int = 64,
        group_tokens: int = 256,
    ) -> OrderConfig: ...
    @property
    def priority_age_ns(self) -> int:
        """A request that has waited for so long counts as one priority better, again and again."""

    @property
    def tenant_quantum(self) -> int:
        """Tokens that each tenant gets in one round of the deficit round robin."""

    @property
    def ttft_target_ns(self) -> int:
        """Time to the first token that requests without a deadline of their own should see. 0: none."""

    @property
    def refuse_late(self) -> bool:
        """Refuse a request that can no longer make its deadline, instead of serving it late."""

    @property
    def bypass_limit(self) -> int:
        """Requests that may overtake one that does not fit, before all behind it wait."""

    @property
    def group_tokens(self) -> int:
        """Tokens of an uncached prefix that two requests share for the second to wait for the first's pages. 0: off."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class SchedulerConfig:
    """Sizes, bounds and policies of a `Scheduler`. Lengths are in tokens, unless they say otherwise."""

    def __new__(
        cls,
        *,
        pages: int = 4096,
        page_size: int = 16,
        slots: int = 256,
        context: int = 8192,
        step_tokens: int = 2048,
        step_ns: int = 0,
        plan_lead_ns: int = 0,
        balance_tokens: int = 0,
        prefill_chunk: int = 2048,
        queue_requests: int = 4096,
        queue_tokens: int = 8388608,
        shared_rows: int = 4,
        shared_tokens: int = 256,
        prefix_cache: bool = True,
        mode: str = "chunked",
        max_wait_tokens: int = 8,
        policy: str | PolicyConfig | None = None,
        order: OrderConfig | None = None,
        eviction: str = "lru",
        seed: int = 0,
        debug_checks: bool = False,
    ) -> SchedulerConfig:
        """Settings, all optional.

        Raises:
            InvalidConfig: a setting is out of its range, or two contradict each other.
        """

    @property
    def pages(self) -> int:
        """Pages of the KV cache."""

    @property
    def page_size(self) -> int:
        """Positions of a page."""

    @property
    def slots(self) -> int:
        """Requests that can run at once."""

    @property
    def context(self) -> int:
        """Longest prompt and output together."""

    @property
    def step_tokens(self) -> int:
        """Tokens of one step at most, decode rows counting one each."""

    @property
    def step_ns(self) -> int:
        """Nanoseconds of a step with prompts at most while others decode, as far as can be told; 0: no bound."""

    @property
    def plan_lead_ns(self) -> int:
        """Nanoseconds before the end of a step at which the next should be planned; 0: as soon as possible."""

    @property
    def balance_tokens(self) -> int:
        """Prompt tokens of a step while others decode, or those that are in balance with outputs; 0: no bound."""

    @property
    def prefill_chunk(self) -> int:
        """Prefill tokens of one request in one step at most."""

    @property
    def queue_requests(self) -> int:
        """Requests that may wait beside those for which a slot is free."""

    @property
    def queue_tokens(self) -> int:
        """Prompt tokens that may wait."""

    @property
    def shared_rows(self) -> int:
        """Decode rows with pages in common that are worth naming as a group; 0: never."""

    @property
    def shared_tokens(self) -> int:
        """Tokens in common that are worth it, rounded up to pages."""

    @property
    def prefix_cache(self) -> bool:
        """Keep computed pages for prompts that begin alike."""

    @property
    def mode(self) -> str:
        """What a step is made of: `chunked`, `prefill_first` or `decode_first`."""

    @property
    def max_wait_tokens(self) -> int:
        """For `decode_first`: steps that only decode, in a row, before waiting prompts get one."""

    @property
    def policy(self) -> PolicyConfig:
        """Who may run beside those that run."""

    @property
    def order(self) -> OrderConfig:
        """Who is asked first."""

    @property
    def eviction(self) -> str:
        """What the prefix cache gives up first."""

    @property
    def seed(self) -> int:
        """Of everything that draws: the same seed and the same calls give the same plans."""

    @property
    def debug_checks(self) -> bool:
        """Check everything after each call; a fault is `SchedulerBroken`. Slow."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

# What goes in, and what comes out.

@final
class Request:
    """A request for tokens."""

    def __new__(
        cls,
        id: int,
        prompt: Sequence[int],
        max_tokens: int,
        *,
        end_ids: Sequence[int] = (),
        min_tokens: int = 0,
        cache_salt: int = 0,
        wants_history: bool = False,
        prompt_logprobs: bool = False,
        priority: int = 0,
        deadline: int | None = None,
        tenant: int = 0,
        class_label: int = 0,
        siblings: Sequence[int] = (),
        images: Sequence[tuple[int, int, bool]] = (),
        expected_tokens: int | None = None,
    ) -> Request: ...
    @property
    def id(self) -> int:
        """Name of the request, unique among those that have not ended; from 0 to 2**64 - 1."""

    @property
    def prompt(self) -> tuple[int, ...]:
        """Token ids of the prompt, one at least; each from 0 to 2**32 - 1."""

    @property
    def max_tokens(self) -> int:
        """Tokens to generate at most. 0 only together with `prompt_logprobs`."""

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Token ids that end the output."""

    @property
    def min_tokens(self) -> int:
        """An end id does not end the output before this many tokens."""

    @property
    def cache_salt(self) -> int:
        """Requests share cached prefixes only with requests of the same salt; from 0 to 2**128 - 1."""

    @property
    def wants_history(self) -> bool:
        """The backend needs all token ids known so far when the request gets a slot."""

    @property
    def prompt_logprobs(self) -> bool:
        """Compute every prompt position: cached prefixes are not used."""

    @property
    def priority(self) -> int:
        """Lower goes first; from -1000 to 1000."""

    @property
    def deadline(self) -> int | None:
        """When the first token should be there, in nanoseconds of the scheduler's clock."""

    @property
    def tenant(self) -> int:
        """Who asks; tenants share the server fairly. 0 is the tenant of those without a name."""

    @property
    def class_label(self) -> int:
        """Label of the kind of request, for the statistics of lengths. 0 is no label."""

    @property
    def siblings(self) -> tuple[int, ...]:
        """Ids of further requests with the same prompt and settings, each with an output of its own (n > 1)."""

    @property
    def images(self) -> tuple[tuple[int, int, bool], ...]:
        """Where images stand in the prompt, in order: first position, number of positions, and whether it is ready."""

    @property
    def expected_tokens(self) -> int | None:
        """Tokens that it will generate, where that is known: for the oracle, in simulations."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Admission:
    """How a request came to run."""

    def __new__(cls, *, cached_tokens: int, queue_ns: int, image_wait_ns: int = 0) -> Admission: ...
    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that were in the prefix cache when it was first admitted."""

    @property
    def queue_ns(self) -> int:
        """Nanoseconds from `add` to the first admission, without those of `image_wait_ns` until then."""

    @property
    def image_wait_ns(self) -> int:
        """Nanoseconds in which nothing of it could be computed until an image was ready."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Output:
    """News of one request."""

    def __new__(
        cls,
        *,
        request: int,
        tokens: Sequence[int] = (),
        finish: str | None = None,
        failure: str | None = None,
        admission: Admission | None = None,
    ) -> Output: ...
    @property
    def request(self) -> int: ...
    @property
    def tokens(self) -> tuple[int, ...]:
        """New tokens, an end id included. Empty only with a `finish`."""

    @property
    def finish(self) -> str | None:
        """In the last output of a request: `stop` (an end id), `length` (`max_tokens`) or `failed`."""

    @property
    def failure(self) -> str | None:
        """With `failed`: the backend's own text."""

    @property
    def admission(self) -> Admission | None:
        """In the first output of a request."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

# The step contract: what the backend is told, and what it answers.

@final
class Attach:
    """A request gets a slot."""

    def __new__(
        cls,
        *,
        slot: int,
        request: int,
        prompt_len: int,
        history: Sequence[int] | None = None,
        images: tuple[int, int] = (0, 0),
    ) -> Attach: ...
    @property
    def slot(self) -> int:
        """Free until now; from 0 to `SchedulerConfig.slots` - 1."""

    @property
    def request(self) -> int: ...
    @property
    def prompt_len(self) -> int:
        """Length of the prompt as it was added: a request that was preempted has outputs after it."""

    @property
    def history(self) -> tuple[int, ...] | None:
        """Prompt and outputs so far, if the request wants them."""

    @property
    def images(self) -> tuple[int, int]:
        """Images that rows of this attach read, all of them ready: the first, and the one after the last."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Row:
    """Consecutive positions of one request to compute."""

    def __new__(
        cls,
        *,
        slot: int,
        request: int,
        start: int,
        tokens: int,
        new_pages: Sequence[int] = (),
        emits: bool = False,
        from_last: bool = False,
    ) -> Row: ...
    @property
    def slot(self) -> int: ...
    @property
    def request(self) -> int: ...
    @property
    def start(self) -> int:
        """First position."""

    @property
    def tokens(self) -> int:
        """Number of positions."""

    @property
    def new_pages(self) -> tuple[int, ...]:
        """Pages to append to the slot's page table, so that it covers `[0, start + tokens)`."""

    @property
    def emits(self) -> bool:
        """A token is sampled after the last position."""

    @property
    def from_last(self) -> bool:
        """A decode row: its one input is the token sampled last in this slot; it has no ids in the plan."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class StepPlan:
    """One step. A backend carries out `detach`, `attach`, `copies`, `rows`, in that order, and answers once."""

    def __new__(
        cls,
        *,
        step: int,
        detach: Sequence[int] = (),
        attach: Sequence[Attach] = (),
        copies: Sequence[tuple[int, int]] = (),
        rows: Sequence[Row] = (),
        token_ids: Sequence[int] = (),
        groups: Sequence[tuple[int, int, int]] = (),
    ) -> StepPlan: ...
    @property
    def step(self) -> int:
        """Number of the step: 1, 2, 3, ..."""

    @property
    def detach(self) -> tuple[int, ...]:
        """Slots whose request is gone."""

    @property
    def attach(self) -> tuple[Attach, ...]:
        """Requests that get a slot. Each has a row in the same plan."""

    @property
    def copies(self) -> tuple[tuple[int, int], ...]:
        """Pages to copy, from and to: requests that share a prompt (n > 1) begin with a copy of its last page."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Decode rows, then prefill rows."""

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Token ids of the prefill rows, one row after the other."""

    @property
    def groups(self) -> tuple[tuple[int, int, int], ...]:
        """Consecutive decode rows whose page tables begin alike: first row, number of rows, pages in common."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class RowResult:
    """The outcome of one row."""

    def __new__(cls, *, row: int, tokens: Sequence[int] = (), failed: str | None = None) -> RowResult: ...
    @property
    def row(self) -> int:
        """Index of the row in its plan."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """Exactly one token where the row emits and did not fail, none where it does not emit."""

    @property
    def failed(self) -> str | None:
        """Why the row could not be computed. It ends the request."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class StepResult:
    """The answer to one plan."""

    def __new__(cls, *, step: int, rows: Sequence[RowResult] = ()) -> StepResult: ...
    @property
    def step(self) -> int: ...
    @property
    def rows(self) -> tuple[RowResult, ...]:
        """One for each row that emits or failed, in any order."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Stats:
    """What is so now, and what has happened since the start (from `steps` on)."""

    @property
    def running(self) -> int:
        """Requests that run."""

    @property
    def forking(self) -> int:
        """Those of them that have no row yet: members of a group (n > 1) that wait for their prompt."""

    @property
    def queued(self) -> int:
        """Requests that wait, preempted ones included."""

    @property
    def paused(self) -> int:
        """Those of them that ran before: preempted ones."""

    @property
    def awaiting_images(self) -> int:
        """Those of them of which nothing can be computed until an image is ready."""

    @property
    def queued_tokens(self) -> int:
        """Prompt tokens of those that wait."""

    @property
    def total_pages(self) -> int:
        """Pages of the pool."""

    @property
    def free_pages(self) -> int:
        """Pages without content."""

    @property
    def cached_pages(self) -> int:
        """Pages in the prefix cache."""

    @property
    def evictable_pages(self) -> int:
        """Those of them that no running request uses."""

    @property
    def private_pages(self) -> int:
        """Pages of running requests outside the prefix cache."""

    @property
    def steps(self) -> int:
        """Plans made."""

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens of requests, counted at their first admission."""

    @property
    def generated_tokens(self) -> int:
        """Tokens of outputs."""

    @property
    def prefix_queries(self) -> int:
        """Prompt tokens looked up in the prefix cache, counted at the first admission."""

    @property
    def prefix_hits(self) -> int:
        """Those of them that were found."""

    @property
    def prefill_tokens(self) -> int:
        """Tokens in prefill rows: prompts less hits, and what preempted requests compute again."""

    @property
    def preemptions(self) -> int:
        """Times a running request gave up its pages to another."""

    @property
    def refused_queue_full(self) -> int:
        """Requests refused by `add` since the queue was full."""

    @property
    def refused_late(self) -> int:
        """Requests given up while they waited, since their deadline could not be met any more."""

    @property
    def bypasses(self) -> int:
        """Admissions past a request that comes first in order but did not fit."""

    @property
    def deferred(self) -> int:
        """Requests that waited for another's prefill, to share its pages."""

    @property
    def ahead(self) -> int:
        """Times a part of a prompt was computed ahead of an image that was not ready."""

    @property
    def forks(self) -> int:
        """Requests that began with the prompt that another of their group (n > 1) computed."""

    @property
    def copies(self) -> int:
        """Pages copied for them."""

    @property
    def planned_tokens(self) -> int:
        """Tokens of all rows."""

    @property
    def budget_tokens(self) -> int:
        """Tokens that the steps could have taken: `step_tokens` each."""

    @property
    def finished_stop(self) -> int:
        """Requests that ended with an end id."""

    @property
    def finished_length(self) -> int:
        """Requests that ended at `max_tokens`."""

    @property
    def finished_failed(self) -> int:
        """Requests that ended with a failed row or step."""

    @property
    def aborted(self) -> int:
        """Requests that were aborted."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Scheduler:
    """Queue, prefix cache, pages and slots of one backend, and the plans that come of them.

    It has no clock, no randomness of its own and no threads: the same calls give the same plans. Calls from several
    threads follow one another, and run without the GIL.

    Each call can raise `SchedulerBroken` beside what it lists.
    """

    def __new__(cls, config: SchedulerConfig) -> Scheduler: ...
    @property
    def config(self) -> SchedulerConfig: ...
    def add(self, request: Request, now: int) -> None:
        """Queues a request.

        Raises:
            QueueFull, EmptyPrompt, NothingToDo, PromptTooLong, ContextExceeded, TooLargeForPool,
            TooManySiblings, BadImage, DuplicateId, ClockRanBackwards: it is not queued.
        """

    def abort(self, request: int) -> bool:
        """Ends a request in any state, without an output. Its pages are free at once. False if there is none."""

    def image_ready(self, request: int, image: int, now: int) -> bool:
        """An image of a request is there: what waited for it can be computed. False if the request has ended.

        It holds for the siblings that wait with the request; with `prompt_logprobs` each is to be told.

        Raises:
            NoSuchImage, ClockRanBackwards
        """

    def schedule(self, now: int) -> StepPlan | None:
        """The next plan; None if there is nothing to do, or two plans have no result yet.

        Raises:
            ClockRanBackwards
        """

    def plan_at(self, now: int) -> int:
        """When `schedule` should be called next, `now` or later: late enough that the plan has what arrives meanwhile.

        Raises:
            ClockRanBackwards
        """

    def update(self, result: StepResult, now: int) -> list[Output]:
        """Takes the result of the oldest plan without one, and says what it means for the requests.

        Raises:
            UnexpectedStep, BadResult: the result contradicts the plans.
            ClockRanBackwards
        """

    def fail_step(self, step: int) -> list[int]:
        """A whole step failed: its requests end, nothing of it is published. Ids of those that had not ended."""

    def take_refused(self) -> list[tuple[int, SchedulerError]]:
        """Requests that were given up while they waited, and why (`DeadlineMissed`). Each is told once."""

    def clear_cache(self) -> int:
        """Forgets all cached prefixes that no running request uses. The number of pages freed."""

    def has_work(self) -> bool:
        """Whether there is anything left to plan, now or after the results that are to come.

        Requests that only wait for images are none.
        """

    def has_late(self, now: int) -> bool:
        """Whether the next plan gives up a request that waits for an image, since its deadline has passed meanwhile.

        Raises:
            ClockRanBackwards
        """

    def unanswered(self) -> int:
        """Plans without a result: 0, 1 or 2."""

    def stats(self) -> Stats: ...
    def check_invariants(self) -> None:
        """Checks everything that must hold between calls, for tests: it takes a time linear in all pages."""

    def __contains__(self, request: int, /) -> bool:
        """Whether a request has not ended."""

def break_scheduler(scheduler: Scheduler | None, reason: str) -> None:
    """Breaks an invariant of a scheduler, or outside of any (None), for the test that Python survives it.

    Raises:
        SchedulerBroken
    """

# Simulations and journals.

class InputError(ValueError):
    """A trace, a journal, a cost model or a setting of a simulation that can't be used."""

    path: str | None
    """The file, if one is to blame."""
    line: int | None
    """The line in it, from 1."""
    parameter: str | None
    """The setting or the field."""

def past_future_paper(
    *,
    seeds: Sequence[int] | None = None,
    capacity: int = 120000,
    policies: Sequence[str | PolicyConfig] | None = None,
    policy_seed: int = 0,
) -> str:
    """Replays the artifact of the Past-Future paper; `lightllm_rs.simulate.past_future_paper` describes it.

    Returns:
        a JSON list of rows.

    Raises:
        InvalidConfig: a setting is out of its range.
    """

def simulate(setups: str, *, jobs: int = 0, progress: Callable[[int, float, int, float], object] | None = None) -> str:
    """Simulates a JSON list of setups; `lightllm_rs.simulate.sweep` describes it.

    Args:
        jobs: threads; 0: as many as there are cores.

    Returns:
        a JSON list of reports.

    Raises:
        InputError: a setting or a file can't be used.
    """

@final
class Difference:
    """Where a scheduler did something else than a journal says; as a string, all of it in one line."""

    @property
    def line(self) -> int:
        """Line of the journal, from 1."""

    @property
    def step(self) -> int:
        """The step that it is about, or the last one that was planned before."""

    @property
    def what(self) -> str:
        """What differs."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class ReplayReport:
    """What a replay found."""

    @property
    def records(self) -> int:
        """Records that were replayed."""

    @property
    def steps(self) -> int:
        """Plans that were compared."""

    @property
    def identical(self) -> bool:
        """Whether all of it came out as it is in the journal."""

    @property
    def differences(self) -> int:
        """Differences seen: 0 or 1, or all with `count`."""

    @property
    def first(self) -> Difference | None: ...
    @property
    def cut(self) -> int | None:
        """The last line, if it was cut off in the middle: all before it was replayed."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

def replay_journal(path: str | PathLike[str], *, count: bool = False) -> ReplayReport:
    """Runs a journal through a scheduler of the same settings, and compares each plan and each refusal.

    Args:
        count: go on after the first difference, and count them.

    Raises:
        InputError: it can't be read, or a line is no record.
    """

def summarize_journal(path: str | PathLike[str]) -> str:
    """What a journal says of the service, as a JSON object; `lightllm_rs.replay.summary` reads it.

    Raises:
        InputError: it can't be read, or a line is no record.
    """

# The router process.

class RouterError(Exception):
    """The router process ended with an error; the text is its last words."""

# The cache of images in shared memory: `lightllm_rs.cache`.

class CacheError(Exception):
    """A call that the cache did not do."""

class CacheGone(CacheError, ConnectionError):
    """The cache manager has ended; its successor is another one."""

class CacheTimeout(CacheError, TimeoutError):
    """No answer came in time, and the call is withdrawn."""

class CacheTooLarge(CacheError):
    """Items that never fit into the cache's memory together."""

    needed: int
    """Bytes of whole pages that they need."""
    total: int
    """Bytes that there are."""

class CacheRefused(CacheError, ValueError):
    """A call that breaks the contract; it changed nothing."""

class CacheCorrupt(CacheError, RuntimeError):
    """What is in the shared memory is not what the cache manager says."""

class CacheManagerError(Exception):
    """The cache manager ended with an error."""

def run_cache_manager(start: bytes) -> None:
    """Runs the cache manager until the supervisor says stop.

    Args:
        start: an encoded `lightllm_rs.messages.cache.CacheStart`.

    Raises:
        CacheManagerError: the process has to end; the supervisor has been told why.
    """

@final
class Want:
    """An item that somebody needs.

    Args:
        key: its name, 16 bytes: a hash of its bytes and of all settings that its features depend on.
        data_len: bytes of the original, at least 1.
        feature_len: bytes of the features, at least 1.
        pixels: as the model sees it; what `CacheClient.take` sums up.
        recipe: what the encoder has to know beside the bytes, at most 4096 bytes; the cache does not read it.
        original_pixels: of the original: what decoding it costs, and what goes by it in the queue.
    """

    def __new__(
        cls,
        key: bytes,
        data_len: int,
        feature_len: int,
        pixels: int = 0,
        recipe: bytes | None = None,
        original_pixels: int = 0,
    ) -> Want: ...
    @property
    def key(self) -> bytes: ...
    @property
    def data_len(self) -> int: ...
    @property
    def feature_len(self) -> int: ...
    @property
    def pixels(self) -> int: ...
    @property
    def original_pixels(self) -> int: ...
    @property
    def recipe(self) -> bytes: ...

@final
class Lease:
    """The right to use an item. It is given back when it and all views of it are gone, or at once by `release`."""

    @property
    def key(self) -> bytes:
        """Name of the item."""
    @property
    def state(self) -> str:
        """See `lightllm_rs.cache.State`. It changes with calls of this client only."""
    @property
    def error(self) -> str:
        """Why the item failed; empty if it did not."""
    @property
    def data_len(self) -> int:
        """Bytes of the original."""
    @property
    def feature_len(self) -> int:
        """Bytes of the features."""
    @property
    def pixels(self) -> int:
        """As wanted."""
    @property
    def recipe(self) -> bytes:
        """As wanted, in a lease that was taken; empty in others."""
    @property
    def ended(self) -> bool:
        """Whether it was given back, or ended with what it was for."""
    @property
    def data(self) -> _Bytes:
        """The original: writable for its writer, read-only for its encoder. Raises CacheRefused for others."""
    @property
    def features(self) -> _Bytes:
        """The features: read-only once they are ready, writable for the encoder. Raises CacheRefused before that."""
    @property
    def features_unguarded(self) -> _Bytes:
        """The same, not marked read-only, for torch, which warns of marked memory. Only the encoder may write there."""
    def write_data(self, bytes: Buffer) -> None:
        """Writes all of the original: one copy, without the GIL if it comes from `bytes`.

        Raises:
            CacheRefused: this lease is not the writer's, or the length is not `data_len`.
        """
    def write_features(self, bytes: Buffer) -> None:
        """The same for all of the features, in a lease that was taken."""
    def release(self) -> None:
        """Gives the item back now. Views of it must not be used any more. The second time nothing happens."""

@final
class CacheView:
    """The base of a view's array; keeps mapping and lease."""

    @property
    def __array_interface__(self) -> dict[str, object]: ...

@final
class CacheClient:
    """A connection to the cache manager, with its shared memory mapped. Dropped or closed, it gives all back.

    Several threads may use it at once. Calls block without the GIL, for `timeout` seconds at most (None: for ever), and
    Python's signal handlers run meanwhile. A call that raises has changed nothing; what it still brings is given back.
    Calls named `begin_` return a number at once, under which the result comes out of `finished`.

    Args:
        endpoint: the cache manager's socket.
        name: of this process, for people.
        timeout: seconds to wait for the cache manager's hello.

    Raises:
        CacheTimeout: nobody answers at `endpoint`.
        CacheGone: the cache manager has ended, as each call may find.
    """

    def __new__(cls, endpoint: str, name: str, *, timeout: float = 10.0) -> CacheClient: ...
    @property
    def server_pid(self) -> int:
        """Process of the cache manager."""
    @property
    def total_bytes(self) -> int:
        """Bytes for items."""
    @property
    def page_bytes(self) -> int:
        """An item takes whole pages, any that are free."""
    def acquire(self, wants: Sequence[Want], timeout: float | None = None) -> list[Lease]:
        """A lease of each item, reserving those that are not there: all or nothing, in one round trip.

        Under pressure it waits in order until there is room, and holds nothing meanwhile.

        Raises:
            CacheTooLarge: there is never room for all of them.
            CacheRefused: a want makes no sense, or its key is known with other sizes.
        """
    def publish_data(self, leases: Sequence[Lease], timeout: float | None = None) -> None:
        """The data of these is written: encoders may take them."""
    def wait(self, leases: Sequence[Lease], timeout: float | None = None) -> list[str]:
        """The state of each when none is pending any more, or as soon as one is "write".

        "write" means that its writer is gone, and this lease is the writer's now: write, publish, and wait again. It is
        told at once, since who waits for others meanwhile may be waited for by them.
        """
    def take(
        self, max_items: int, max_pixels: int = 0, max_original_pixels: int = 0, timeout: float | None = None
    ) -> list[Lease]:
        """The next written items to encode, when there are some: the oldest and the smallest in turn.

        Args:
            max_pixels: sum of their pixels, of which the first item's may be more; 0 for no bound.
            max_original_pixels: the same of their original pixels.

        An item at which an encoder died comes alone; at the second death it fails.
        """
    def keep(self, leases: Sequence[Lease]) -> list[bool]:
        """Whether somebody still waits for each of these items, which were taken; if not, its lease has ended, and its
        memory is another's: no view of it may be used any more."""
    def publish_features(self, leases: Sequence[Lease], timeout: float | None = None) -> None:
        """The features of these taken items are written. The leases end, and the memory of the originals is free."""
    def fail(self, lease: Lease, message: str, timeout: float | None = None) -> None:
        """This taken item can't be encoded; the lease ends. `message` is for the caller of the API."""
    def lease(self, keys: Sequence[bytes], timeout: float | None = None) -> list[Lease | None]:
        """A lease of each item that is ready, and None for others, in one round trip."""
    def release(self, leases: Sequence[Lease]) -> None:
        """Gives leases back with one frame; see `Lease.release`."""
    def stats(self, timeout: float | None = None) -> dict[str, int]:
        """Figures of the cache manager by name: those of `lightllm_mm_cache_` in /metrics."""
    def close(self) -> None:
        """Gives all back. Calls under way, and later ones, raise CacheGone."""
    def fileno(self) -> int:
        """A descriptor that is readable when `finished` should be called."""
    def begin_acquire(self, wants: Sequence[Want]) -> int: ...
    def begin_publish_data(self, leases: Sequence[Lease]) -> int: ...
    def begin_wait(self, leases: Sequence[Lease]) -> int: ...
    def begin_take(self, max_items: int, max_pixels: int, max_original_pixels: int) -> int: ...
    def begin_publish_features(self, leases: Sequence[Lease]) -> int: ...
    def begin_fail(self, lease: Lease, message: str) -> int: ...
    def begin_lease(self, keys: Sequence[bytes]) -> int: ...
    def begin_stats(self) -> int: ...
    def finished(self) -> list[tuple[int, Any]]:
        """Results of calls that were begun: what the call without `begin_` returns, or the exception that it raises."""
    def withdraw(self, number: int) -> None:
        """Nobody waits for this call any more; what it still brings is given back."""

class FrameError(ValueError):
    """A frame that does not decode."""

def run_router(start: bytes) -> None:
    """Runs the router process until the supervisor says stop.

    Args:
        start: an encoded `lightllm_rs.messages.router_start.RouterStart`.

    Raises:
        RouterError: the process has to end; the supervisor has been told why.
    """

def reencode_frame(union: str, frame: bytes) -> bytes:
    """Decodes a frame of the named union (`"PlanMessage"`, say) and encodes it again, for tests of the wire.

    Raises:
        FrameError: the frame does not decode.
        ValueError: there is no such union.
    """

# Text of outputs: from token ids to text and events, for all streams of an HTTP process at once.

@final
class Pieces:
    """The bytes of all tokens of a vocabulary.

    Args:
        spelling: "byte-level" (GPT-2's letters) or "sentence-piece" (U+2581 is a space, `<0x0A>` a byte).
        tokens: letters and id of each token; ids may be left out.
        special: ids that texts leave out where special tokens are skipped.
    """

    def __new__(cls, spelling: str, tokens: Sequence[tuple[str, int]], special: Sequence[int]) -> Pieces: ...
    def bytes_of(self, token: int) -> bytes:
        """Bytes of a token, perhaps part of a character; none for an id that the vocabulary lacks."""

    def detokenizer(self, skip_special: bool) -> Detokenizer:
        """For one output."""

@final
class Detokenizer:
    """Turns the tokens of one output into text that never ends in part of a character."""

    def push(self, token: int) -> str:
        """The text that `token` makes certain."""

    def finish(self) -> str:
        """What is left, with U+FFFD for bytes that are no text."""

class _Decodes(Protocol):
    def push(self, token: int, /) -> str: ...
    def finish(self) -> str: ...

@final
class StopSet:
    """Stop strings, none of them empty, ready to be looked for; shared by all outputs of a request."""

    def __new__(cls, strings: Sequence[str]) -> StopSet: ...

@final
class Logprobs:
    """Log-probabilities at one position."""

    @property
    def chosen(self) -> float:
        """Of the token that stands there."""

    @property
    def alternatives(self) -> list[tuple[int, float]]:
        """The most probable tokens and theirs, best first."""

@final
class Record:
    """A token of the output, where a route shows tokens."""

    @property
    def token(self) -> int: ...
    @property
    def text(self) -> str:
        """What it adds to the text."""

    @property
    def start(self) -> int:
        """Letters of the text before it."""

    @property
    def kept(self) -> bool:
        """It is part of the text: no end token, and not behind a stop string."""

    @property
    def logprobs(self) -> Logprobs | None: ...

@final
class TextOutput:
    """Takes the rows of one request at the router and keeps what the answer has not used yet.

    Args:
        detokenizer: a copy of it is used; other objects than `Detokenizer` are called for each token.
        stops: what ends the text; with `include_stop` it is part of it.
        min_tokens: stop strings are looked for behind so many tokens.
        records: keep the tokens for `records`.
        drop: the one token that the router must make is not shown.
        quiet: nobody wants to hear of it before the end.
        opening: text that the answer begins with.
        began: of the request's arrival, in seconds of the clock that `TextStreams.feed` is told.
    """

    def __new__(
        cls,
        detokenizer: _Decodes,
        *,
        stops: StopSet | None,
        include_stop: bool,
        min_tokens: int,
        records: bool,
        drop: bool,
        quiet: bool,
        opening: str,
        began: float,
    ) -> TextOutput: ...
    @property
    def tokens(self) -> int:
        """Generated so far, the end token included."""

    @property
    def finish(self) -> str | None:
        """ "stop" or "length" once it has ended."""

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that were found in the prefix cache."""

    @property
    def last_at(self) -> float:
        """Time of the latest token."""

    @property
    def unsent(self) -> int:
        """Tokens since the text was last taken."""

    @property
    def has_text(self) -> bool:
        """Whether `text` would return any."""

    @property
    def prompt_scored(self) -> int:
        """Length of `prompt_logprobs()`."""

    def prompt_logprobs(self) -> list[Logprobs | None]:
        """Of the prompt's positions so far, where asked for; None at position 0."""

    def look(self) -> None:
        """The reader takes what is new: it wants to hear of what comes later."""

    def text(self) -> str:
        """The text since the last call."""

    def records(self) -> list[Record]:
        """The tokens since the last call whose text has been let out."""

@final
class EventTemplate:
    """How an answer writes the events of its choices: all parts are JSON but the frame around it.

    An event is `head INDEX field TEXT ,"logprobs":... ,"finish_reason":... tail`, where TEXT is `before "..." after`,
    or `empty` without a text. The first event of a choice has `first` in place of TEXT, if that is not empty.
    """

    def __new__(
        cls, *, head: bytes, field: bytes, before: bytes, after: bytes, empty: bytes, tail: bytes, first: bytes
    ) -> EventTemplate: ...
    def write(self, output: TextOutput, index: int, logprobs: bytes | None = None) -> bytes:
        """All that is new of a choice; b"" if that is nothing to show yet. `logprobs`, in JSON, are always shown."""

@final
class News:
    """What a step's frame was to those who wait: numbers of requests."""

    @property
    def moved(self) -> list[int]:
        """Those with something new, unless that was said and nobody has looked since."""

    @property
    def ended(self) -> list[int]:
        """Those of `moved` that are over."""

    @property
    def stopped(self) -> list[int]:
        """Those of `ended` that the router goes on with."""

    @property
    def faults(self) -> list[tuple[int, str]]:
        """Those that cannot go on, and why; the router goes on with them."""

@final
class TextStreams:
    """The outputs of all requests under way, by their numbers at the router."""

    def __new__(cls) -> TextStreams: ...
    def open(self, request: int, output: TextOutput) -> None:
        """Rows of this request go to `output` from now on, until it has ended."""

    def close(self, request: int) -> bool:
        """Forgets a request. Returns whether it was known."""

    def feed(self, frame: bytes, now: float) -> News | None:
        """Takes a frame of the router at time `now`, in seconds; None if it says something else than outputs.

        Raises:
            FrameError: the frame does not decode.
            RuntimeError: an invariant does not hold, now or in a call before.
        """

    def take_latencies(self) -> tuple[list[float], list[float]]:
        """Seconds from requests' arrivals to their first tokens, and between two steps of a request, since the last
        call; at most 65,536 of each are kept."""
