"""A step plan as checked arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.options import Capacity
from lightllm_rs.messages.frames import BadFrame, unpack_u32
from lightllm_rs.messages.images import FIRST_SYNTHETIC
from lightllm_rs.messages.steps import EMITS, FROM_LAST, GROUP_WORDS, ROW_WORDS, Attach, StepPlan

Array = np.ndarray[Any, np.dtype[Any]]

_NOTHING: Array = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Plan:
    """One step. Arrays over rows have R entries, in the plan's order; integers are int64.

    Attributes:
        detach: slots whose requests are gone.
        attach: slots that get a request.
        copies: pages [n, 2]; from, to.
        slots, starts, tokens: of each row; it covers the positions start .. start + tokens of its slot.
        emits: a token is sampled after the row's last position.
        from_last: the row's one input is the slot's last sampled token.
        new_pages, page_starts: row r brings new_pages[page_starts[r] : page_starts[r + 1]].
        token_ids, token_starts: row r reads token_ids[token_starts[r] : token_starts[r + 1]]; nothing if from_last. Ids
            that stand for pictures are 0 here.
        synthetic: where those were in token_ids.
        decode, prefill: indices of the rows that are, and are not, from_last.
        groups: decode rows that share a prefix, [n, 3]; first of them (index in `decode`), rows, shared pages.
    """

    step: int
    detach: Array
    attach: list[Attach]
    copies: Array
    slots: Array
    starts: Array
    tokens: Array
    emits: Array
    from_last: Array
    new_pages: Array
    page_starts: Array
    token_ids: Array
    token_starts: Array
    synthetic: Array
    decode: Array
    prefill: Array
    groups: Array


def read_plan(message: StepPlan, capacity: Capacity) -> Plan:
    """Unpacks a plan and checks all that it says by itself. Raises PlanError."""
    try:
        detach, copies, rows, new_pages, token_ids, groups = (
            unpack_u32(words).astype(np.int64)
            for words in (
                message.detach,
                message.copies,
                message.rows,
                message.new_pages,
                message.token_ids,
                message.groups,
            )
        )
    except BadFrame as error:
        raise PlanError(f"step {message.step}: {error}") from None
    whole = rows.size % ROW_WORDS == 0 and copies.size % 2 == 0 and groups.size % GROUP_WORDS == 0
    _check(whole, message, "rows, copies or groups are cut off")
    rows = rows.reshape(-1, ROW_WORDS)
    copies = copies.reshape(-1, 2)
    slots, starts, tokens, page_counts, flags = (np.ascontiguousarray(column) for column in rows.T)
    from_last = (flags & FROM_LAST) != 0
    page_starts = _offsets(page_counts)
    token_starts = _offsets(np.where(from_last, 0, tokens))

    _check(_below(slots, capacity.slots) and _below(detach, capacity.slots), message, "a slot is out of range")
    _check(np.unique(slots).size == slots.size, message, "two rows of one slot")
    _check(bool((tokens >= 1).all()), message, "a row without tokens")
    _check(bool((tokens[from_last] == 1).all()), message, "a decode row of several tokens")
    _check(bool((starts + tokens <= capacity.context).all()), message, "a row goes past the context")
    _check(page_starts[-1] == new_pages.size, message, "page counts and new pages differ")
    _check(token_starts[-1] == token_ids.size, message, "row lengths and token ids differ")
    _check(_below(new_pages, capacity.pages) and _below(copies, capacity.pages), message, "a page is out of range")
    synthetic = _NOTHING
    if not _below(token_ids, capacity.vocab):
        synthetic = np.flatnonzero(token_ids >= FIRST_SYNTHETIC)
        token_ids[synthetic] = 0
        _check(_below(token_ids, capacity.vocab), message, "a token id is out of range")
    return Plan(
        step=message.step,
        detach=detach,
        attach=message.attach,
        copies=copies,
        slots=slots,
        starts=starts,
        tokens=tokens,
        emits=(flags & EMITS) != 0,
        from_last=from_last,
        new_pages=new_pages,
        page_starts=page_starts,
        token_ids=token_ids,
        token_starts=token_starts,
        synthetic=synthetic,
        decode=np.flatnonzero(from_last),
        prefill=np.flatnonzero(~from_last),
        groups=_groups(groups.reshape(-1, GROUP_WORDS), starts, from_last, message, capacity),
    )


def _groups(groups: Array, starts: Array, from_last: Array, message: StepPlan, capacity: Capacity) -> Array:
    """The groups with their first rows counted among the decode rows."""
    if not groups.size:
        return groups
    firsts, counts, pages = groups.T
    ends = firsts + counts
    apart = (firsts[1:] >= ends[:-1]).all()
    _check(bool((counts > 0).all() and apart and ends[-1] <= starts.size), message, "groups out of order or range")
    rows = ranges(firsts, counts)
    _check(bool(from_last[rows].all()), message, "a group with a row that does not decode")
    long_enough = starts[rows] >= np.repeat(pages * capacity.page_size, counts)
    _check(bool(long_enough.all()), message, "a group that shares more than a row holds")
    before = np.cumsum(from_last) - from_last  # decode rows before each row
    return np.stack([before[firsts], counts, pages], axis=1)


def known_tokens(attach: Attach) -> Array:
    """The ids a request came with, int64: prompt, then output; those from FIRST_SYNTHETIC on stand for pictures.

    Raises PlanError if it should have come with them and did not.
    """
    try:
        tokens: Array = unpack_u32(attach.history or b"").astype(np.int64)
    except BadFrame as error:
        raise PlanError(f"the history of slot {attach.slot}: {error}") from None
    if tokens.size < attach.prompt_len:
        raise PlanError(f"slot {attach.slot} was attached without the history its sampling settings need")
    return tokens


def ranges(starts: Array, counts: Array) -> Array:
    """starts[0], starts[0] + 1, ... (counts[0] of them), then the same for the next pair."""
    offsets = _offsets(counts)
    values: Array = np.arange(offsets[-1], dtype=np.int64) + np.repeat(starts - offsets[:-1], counts)
    return values


def _offsets(counts: Array) -> Array:
    offsets = np.zeros(counts.size + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _below(values: Array, bound: int) -> bool:
    return values.size == 0 or int(values.max()) < bound


def _check(good: bool, message: StepPlan, complaint: str) -> None:
    if not good:
        raise PlanError(f"step {message.step}: {complaint}")
