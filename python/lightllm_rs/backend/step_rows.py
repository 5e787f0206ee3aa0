"""The rows of a step in the order of its batch: decode rows first, then prefill rows. Host arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.image_tokens import ImageTokens, image_tokens, rotary_positions
from lightllm_rs.backend.plan import Array, Plan, ranges
from lightllm_rs.backend.slots import SlotTable


@dataclass(frozen=True)
class PromptScores:
    """Prompt positions whose log-probabilities are wanted, row after row.

    Attributes:
        rows: indices, in batch order, of the rows that have any.
        counts: how many each of them has.
        firsts: position that the first entry of each row is about.
        tokens: index in the batch of the token before each position.
        following: token id at each position.
        alternatives: of each row.
    """

    rows: Array
    counts: Array
    firsts: Array
    tokens: Array
    following: Array
    alternatives: Array


@dataclass(frozen=True)
class StepRows:
    """R rows and their T tokens. Arrays are int64.

    Attributes:
        plan_rows: [R]; index of each row in the plan.
        slots, starts, tokens: [R]; as in the plan.
        decode_rows: the first so many rows read their slot's last token.
        token_ids: of the prefill rows' tokens.
        positions, cache_indices: [T]; position of each token and where its key and value go, page * page size + offset.
        rope: [T], position of each token's rotation; or [3, T] where there are `images` and it has three axes.
        last_tokens: [R]; index of each row's last token in the batch.
        emitting, silent: indices of the rows that sample a token, and of the others.
        prompt: the prompt positions that are scored, or None.
        images: the tokens that stand for pictures, or None.
        groups: decode rows that share a prefix, as in the plan.
        page_size: of the cache.
    """

    plan_rows: Array
    slots: Array
    starts: Array
    tokens: Array
    decode_rows: int
    token_ids: Array
    positions: Array
    cache_indices: Array
    rope: Array
    last_tokens: Array
    emitting: Array
    silent: Array
    prompt: PromptScores | None
    images: ImageTokens | None
    groups: Array
    page_size: int

    @property
    def ends(self) -> Array:
        """[R]; tokens in the cache after the step."""
        ends: Array = self.starts + self.tokens
        return ends


def step_rows(plan: Plan, decode: Array, prefill: Array, slots: SlotTable, histories: dict[int, Array]) -> StepRows:
    """Arranges the rows `decode` and `prefill` (indices in the plan) of a plan that `slots` has taken in.

    Args:
        histories: known ids of the slots that want log-probabilities of their prompt.
    """
    order = np.concatenate([decode, prefill])
    row_slots, starts, tokens = plan.slots[order], plan.starts[order], plan.tokens[order]
    positions = ranges(starts, tokens)
    page_size = slots.capacity.page_size
    pages = slots.page_table[np.repeat(row_slots, tokens), positions // page_size].astype(np.int64)
    emits = plan.emits[order]
    ends = np.cumsum(tokens)
    images, rope = _seen(plan, row_slots, starts, tokens, decode.size, positions, slots)
    return StepRows(
        plan_rows=order,
        slots=row_slots,
        starts=starts,
        tokens=tokens,
        decode_rows=decode.size,
        token_ids=plan.token_ids,
        positions=positions,
        cache_indices=pages * page_size + positions % page_size,
        rope=rope,
        last_tokens=ends - 1,
        emitting=np.flatnonzero(emits),
        silent=np.flatnonzero(~emits),
        prompt=_prompt_scores(row_slots, starts, tokens, ends - tokens, slots, histories) if histories else None,
        images=images,
        groups=plan.groups if decode.size else plan.groups[:0],
        page_size=page_size,
    )


def _seen(
    plan: Plan, row_slots: Array, starts: Array, tokens: Array, decodes: int, positions: Array, slots: SlotTable
) -> tuple[ImageTokens | None, Array]:
    """The tokens of pictures, and the rotary positions of all. Raises PlanError where ids and spans disagree."""
    images = None
    if slots.spans or plan.synthetic.size:
        found = image_tokens(row_slots, starts, tokens, decodes, slots.spans)
        if not np.array_equal(found.tokens - decodes, plan.synthetic):
            raise PlanError(f"step {plan.step}: ids that stand for images are not where their slots' images are")
        images = found if found.parts else None
    if not slots.spans or not slots.three_axes:
        return images, positions
    offsets, seeing = slots.position_offsets, images is not None
    return images, rotary_positions(row_slots, starts, tokens, decodes, positions, slots.spans, offsets, seeing)


def _prompt_scores(
    row_slots: Array, starts: Array, tokens: Array, firsts: Array, slots: SlotTable, histories: dict[int, Array]
) -> PromptScores | None:
    found = []
    for row, slot in enumerate(row_slots.tolist()):
        attach = slots.attachment(slot)
        first = int(starts[row]) + 1  # position 0 has nothing before it
        count = min(int(tokens[row]), attach.prompt_len - first)
        if attach.sampling.prompt_logprobs >= 0 and count > 0:
            following = histories[slot][first : first + count]
            found.append((row, count, first, int(firsts[row]), attach.sampling.prompt_logprobs, following))
    if not found:
        return None
    rows, counts, first_positions, at, alternatives, parts = zip(*found, strict=True)
    return PromptScores(
        rows=np.array(rows, dtype=np.int64),
        counts=np.array(counts, dtype=np.int64),
        firsts=np.array(first_positions, dtype=np.int64),
        tokens=ranges(np.array(at, dtype=np.int64), np.array(counts, dtype=np.int64)),
        following=np.concatenate(parts),
        alternatives=np.array(alternatives, dtype=np.int64),
    )
