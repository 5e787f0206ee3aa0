"""What the host knows of each slot: its request, its page table and how far it got. No torch."""

from __future__ import annotations

import numpy as np

from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.image_tokens import Spans, checked_spans
from lightllm_rs.backend.options import Capacity
from lightllm_rs.backend.plan import Array, Plan, ranges
from lightllm_rs.messages.steps import Attach

FRESH = -1
"""Length of a slot that was attached and has had no row: its first row may start anywhere (after a prefix hit)."""


class SlotTable:
    """The host's side of the slots. Plans are applied as they are launched, ahead of the device.

    Attributes:
        attached: request of each slot, or None.
        in_use: whether there is one.
        reports: whether it asked for log-probabilities.
        page_table: int32 [slots, pages of a slot].
        page_counts: pages each slot holds.
        lengths: positions of each slot whose keys and values are written once the launched steps are done, or FRESH.
        has_last: the slot has a sampled token that stands at position `lengths`.
        spans: of slots whose prompts have pictures.
        position_offsets: what rotary positions after the prompt have more than positions (less, in fact).
        three_axes: the model's rotary positions have three axes (M-RoPE).
    """

    def __init__(self, capacity: Capacity, three_axes: bool = False) -> None:
        self.capacity, self.three_axes = capacity, three_axes
        self.attached: list[Attach | None] = [None] * capacity.slots
        self.in_use = np.zeros(capacity.slots, dtype=np.bool_)
        self.reports = np.zeros(capacity.slots, dtype=np.bool_)
        self.page_table = np.zeros((capacity.slots, capacity.pages_a_slot), dtype=np.int32)
        self.page_counts = np.zeros(capacity.slots, dtype=np.int64)
        self.lengths = np.full(capacity.slots, FRESH, dtype=np.int64)
        self.has_last = np.zeros(capacity.slots, dtype=np.bool_)
        self.spans: dict[int, Spans] = {}
        self.position_offsets = np.zeros(capacity.slots, dtype=np.int64)

    def apply(self, plan: Plan) -> None:
        """Takes a plan in. Raises PlanError where it does not follow from the plans before."""
        for slot in plan.detach.tolist():
            if self.attached[slot] is None:
                raise PlanError(f"step {plan.step}: slot {slot} is detached and holds no request")
            self.attached[slot] = None
            self.in_use[slot] = self.reports[slot] = False
            self.spans.pop(slot, None)
        for attach in plan.attach:
            slot = attach.slot
            if not 0 <= slot < self.capacity.slots or self.attached[slot] is not None:
                raise PlanError(f"step {plan.step}: slot {slot} is attached and is not free")
            self.attached[slot] = attach
            self.in_use[slot] = True
            self.reports[slot] = attach.sampling.logprobs >= 0 or attach.sampling.prompt_logprobs >= 0
            self.page_counts[slot] = 0
            self.lengths[slot] = FRESH
            self.has_last[slot] = False
            self.position_offsets[slot] = attach.position_offset
            if attach.images or attach.position_offset:
                self.spans[slot] = checked_spans(attach, self.three_axes)
        if plan.slots.size:
            self._apply_rows(plan)

    def _apply_rows(self, plan: Plan) -> None:
        slots = plan.slots
        if not bool(self.in_use[slots].all()):
            raise PlanError(f"step {plan.step}: a row of a slot without a request")
        lengths = self.lengths[slots]
        fresh = (lengths == FRESH) & ~plan.from_last
        if not bool(((plan.starts == lengths) | fresh).all()):
            raise PlanError(f"step {plan.step}: a row does not start where its slot stands")
        if not bool(self.has_last[slots[plan.from_last]].all()):
            raise PlanError(f"step {plan.step}: a decode row of a slot that has sampled no token")
        counts = np.diff(plan.page_starts)
        ends = plan.starts + plan.tokens
        held = self.page_counts[slots] + counts
        if bool((held * self.capacity.page_size < ends).any()) or bool((held > self.capacity.pages_a_slot).any()):
            raise PlanError(f"step {plan.step}: a row has too few or too many pages")
        self.page_counts[slots] = held
        if plan.new_pages.size:
            self.page_table[np.repeat(slots, counts), self.new_page_columns(plan)] = plan.new_pages
        self._check_groups(plan)
        self.lengths[slots] = ends
        self.has_last[slots] = plan.emits

    def _check_groups(self, plan: Plan) -> None:
        slots = plan.slots[plan.decode]
        for first, rows, pages in plan.groups.tolist():
            tables = self.page_table[slots[first : first + rows], :pages]
            if not bool((tables == tables[0]).all()):
                raise PlanError(f"step {plan.step}: rows of a group do not share its pages")

    def new_page_columns(self, plan: Plan) -> Array:
        """Where in the page tables of their slots the new pages of the plan applied last went."""
        counts = np.diff(plan.page_starts)
        return ranges(self.page_counts[plan.slots] - counts, counts)

    def attachment(self, slot: int) -> Attach:
        """The request of an attached slot."""
        attach = self.attached[slot]
        if attach is None:
            raise PlanError(f"slot {slot} holds no request")
        return attach
