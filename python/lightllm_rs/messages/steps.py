"""Router and backend ranks: step plans one way, results the other.

A plan is carried out in this order: detach, attach, copies, rows. At most one plan runs and one waits. Every rank gets
the same bytes. Rank 0 answers with `StepResult`; any rank may answer `StepFailed`.
"""

from __future__ import annotations

import msgspec

from lightllm_rs.messages.frames import FrameDecoder
from lightllm_rs.messages.images import ImageSpan
from lightllm_rs.messages.sampling import Sampling, TokenLogprobs

ROW_WORDS = 5
"""Words of one row of `StepPlan.rows`: slot, start, tokens, new pages, flags."""

GROUP_WORDS = 3
"""Words of one group of `StepPlan.groups`: first row, rows, shared pages."""

EMITS = 1
"""Flag of a row: a token is sampled after its last position."""

FROM_LAST = 2
"""Flag of a row: its one input token is the slot's last sampled token, which only the backend knows."""


class RankHello(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="hello"):
    """First frame of a backend rank, once its model is loaded. The router takes the minimum over all ranks.

    Attributes:
        pages, page_size: the KV cache it has room for.
        slots: most requests that can be attached at once.
        vocab: token ids are below this.
        context: most tokens of prompt and output together.
        images: whether the model takes images.
    """

    protocol: int
    rank: int
    world: int
    pages: int
    page_size: int
    slots: int
    vocab: int
    context: int
    images: bool = False


class RowExtra(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a row reports beside its tokens.

    Attributes:
        row: index of the row in the plan.
        logprobs: one entry for each token of the row, when asked for.
        prompt_start: position of the first entry of `prompt_logprobs`.
        prompt_logprobs: entries of the prompt positions after each of the row's tokens, when asked for.
        error: this row failed (NaN in its logits, say); its request ends with this message.
    """

    row: int
    logprobs: list[TokenLogprobs] | None = None
    prompt_start: int = 0
    prompt_logprobs: list[TokenLogprobs] | None = None
    error: str | None = None


class StepResult(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="result"):
    """What a step gave.

    Attributes:
        step: number of the plan.
        rows: u32 words [n]; indices of the rows that emitted.
        counts: u32 words [n]; how many tokens each of them emitted.
        tokens: u32 words; the tokens, row after row.
        extras: only rows that have something to add.
        busy_us: microseconds the backend spent on the step.
    """

    step: int
    rows: bytes
    counts: bytes
    tokens: bytes
    extras: list[RowExtra]
    busy_us: int


class StepFailed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="failed"):
    """The whole step failed on this rank and the rank lives on; its requests end with `message`."""

    step: int
    rank: int
    message: str


RankMessage = RankHello | StepResult | StepFailed


class Attach(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A request takes a slot. Its page table is empty; the first row brings all pages up to its end.

    Attributes:
        slot: index below `slots`.
        prompt_len: tokens of the prompt; a token sampled for position p is output number p - prompt_len.
        history: u32 words; all known token ids (prompt, then output), if `sampling.wants_history`.
        position_offset: added to positions after the prompt in M-RoPE models; 0 for text.
        images: all images of the prompt, in order. Those that rows of this attach read are `ready`: their features can
            be leased from the attach on. A row may begin or end in the middle of an image.
    """

    slot: int
    prompt_len: int
    sampling: Sampling
    history: bytes | None = None
    position_offset: int = 0
    images: list[ImageSpan] = []


class StepPlan(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="plan"):
    """One step.

    Attributes:
        step: counts up by one, from wherever the router begins.
        detach: u32 words; slots whose requests are gone.
        attach: slots that get a request.
        copies: u32 words [n, 2]; page from, page to.
        rows: u32 words [R, 5]; see ROW_WORDS. A row covers positions start .. start + tokens of its slot.
        new_pages: u32 words; the new pages of all rows, row after row, appended to the page tables of their slots.
        token_ids: u32 words; the input ids of all rows without FROM_LAST, row after row.
        groups: u32 words [n, 3], see GROUP_WORDS; consecutive decode rows whose page tables begin with the same full
            pages. They change how fast a step is, not what it gives. A row is in one group at most, and groups are in
            order of their rows.
    """

    step: int
    detach: bytes
    attach: list[Attach]
    copies: bytes
    rows: bytes
    new_pages: bytes
    token_ids: bytes
    groups: bytes = b""


class RankStop(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="stop"):
    """No more plans will come; the rank ends."""


PlanMessage = StepPlan | RankStop

rank_decoder: FrameDecoder[RankMessage] = FrameDecoder(RankMessage)
plan_decoder: FrameDecoder[PlanMessage] = FrameDecoder(PlanMessage)
