"""HTTP process and router: requests one way, tokens the other."""

from __future__ import annotations

import msgspec

from lightllm_rs.messages.frames import FrameDecoder
from lightllm_rs.messages.images import ImageSpan
from lightllm_rs.messages.sampling import Sampling, TokenLogprobs

RUNNING, STOP, LENGTH = 0, 1, 2
"""Values of `OutputRow.finish`."""


class ClientHello(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="hello"):
    """First frame of an HTTP process. A second hello of the same `name` ends all requests of the first."""

    protocol: int
    name: str


class Sibling(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A further choice of the same prompt: a request of its own, with `seed` in place of the sampling's."""

    request: int
    seed: int


class Add(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="add"):
    """A new request, or several that share all but their seeds. Each gets exactly one end: a row with `finish` set, or
    `Failed`.

    Attributes:
        request: id chosen by the client, unique among its live requests (u64).
        prompt: u32 words, at least one.
        max_tokens: most tokens to generate, at least 1; prompt and max_tokens fit the context.
        cache_salt: requests with different salts never share cached pages ("" is shared by all).
        priority: lower goes first; from -1000 to 1000.
        deadline_ms: milliseconds from now in which the first token should be there; 0 for none.
        tenant: who asks, as a 64-bit hash under a key of this service; 0 for nobody in particular.
        class_label: the client's label of the kind of request, likewise; 0 for none.
        siblings: further choices of the same prompt: admitted together with the first, sharing its pages.
        images: where images stand in the prompt, in order and apart, at most `images.MAX_SPANS`. Token ids are from
            `images.FIRST_SYNTHETIC` on in there, and below it elsewhere.
        position_offset: what positions after the prompt have added to them, in models whose positions have three axes:
            from minus the prompt's length to 0.
    """

    request: int
    prompt: bytes
    max_tokens: int
    sampling: Sampling
    cache_salt: str = ""
    priority: int = 0
    deadline_ms: int = 0
    tenant: int = 0
    class_label: int = 0
    siblings: list[Sibling] = []
    images: list[ImageSpan] = []
    position_offset: int = 0


class ImageReady(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="image_ready"):
    """The features of an image are in the image cache now, and stay there until the request has ended.

    It holds for the request and the choices that still wait with it: whoever has several choices sends it for each that
    has not ended. A request that has ended, or an image that is ready already, is passed over.

    Attributes:
        image: index in `Add.images`.
    """

    request: int
    image: int


class Abort(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="abort"):
    """The client no longer wants these requests; nothing more is said about them."""

    requests: list[int]


class Received(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="received"):
    """Bytes of output frames that the client has taken in since its hello; the router bounds what is under way."""

    total: int


ClientMessage = ClientHello | Add | ImageReady | Abort | Received


class RouterHello(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="hello"):
    """Answer to a hello: what the engine can do.

    Attributes:
        context: most tokens of prompt and output together.
        pages, page_size: the KV cache.
        slots: most requests that run at once.
        images: whether the model takes images.
    """

    protocol: int
    vocab: int
    context: int
    pages: int
    page_size: int
    slots: int
    images: bool = False


class Admission(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """When the request first ran.

    Attributes:
        cached_tokens: tokens of the prompt that were found in the prefix cache.
        queue_us: microseconds between its arrival at the router and its first step, without `image_wait_us`.
        image_wait_us: microseconds in which nothing of it could be computed until an image was ready.
    """

    cached_tokens: int
    queue_us: int
    image_wait_us: int = 0


class OutputRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one request got out of one step.

    Attributes:
        tokens: u32 words. With `finish == STOP` the last one is the end token.
        finish: RUNNING, STOP or LENGTH.
        admission: in the first row of the request only.
        logprobs: one entry for each of `tokens`, when asked for.
        prompt_start: position of the first entry of `prompt_logprobs`.
        prompt_logprobs: one entry for each prompt position from `prompt_start`, when asked for. Position 0 has none.
            A preempted request reports positions again.
    """

    request: int
    tokens: bytes
    finish: int = RUNNING
    admission: Admission | None = None
    logprobs: list[TokenLogprobs] | None = None
    prompt_start: int = 0
    prompt_logprobs: list[TokenLogprobs] | None = None


class StepOutput(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="output"):
    """All rows of one client that came out of one step."""

    rows: list[OutputRow]


class Failed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="failed"):
    """The end of a request that could not be served.

    Attributes:
        kind: "queue_full", "deadline" (its first token would be late), "context_exceeded", "too_large", "invalid",
            "backend" (its step failed), "overrun" (the client took in its output too slowly).
        message: for the caller; what to do.
        retry_after: seconds, for "queue_full" and "deadline"; otherwise 0.
    """

    request: int
    kind: str
    message: str
    retry_after: int = 0


RouterMessage = RouterHello | StepOutput | Failed

client_decoder: FrameDecoder[ClientMessage] = FrameDecoder(ClientMessage)
router_decoder: FrameDecoder[RouterMessage] = FrameDecoder(RouterMessage)
