"""What the device knows of each slot."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.options import Capacity
from lightllm_rs.backend.plan import Array, Plan, known_tokens
from lightllm_rs.backend.sampling.table import SamplingTable
from lightllm_rs.backend.slots import SlotTable
from lightllm_rs.backend.transfer import Packed, to_device
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.messages.images import FIRST_SYNTHETIC


class DeviceState:
    """Slots on the device. A plan changes only what it says; everything happens in the order of one stream.

    Besides the router's slots and pages there is one more of each, which it does not know of: padding rows of captured
    graphs belong to the last slot, whose page table holds the last page alone.

    Attributes:
        last_tokens: int64 [slots + 1]; the last sampled token.
        page_table: int32 [slots + 1, pages of a slot].
        sampling: sampling settings.
        position_offsets: int64 [slots + 1]; what rotary positions after the prompt have more than positions. None
            unless the model has rotary positions of three axes, as nothing else needs it.
        histories: known ids of the slots that want log-probabilities of their prompt, on the host.
    """

    def __init__(self, capacity: Capacity, device: torch.device, three_axes: bool = False) -> None:
        self.capacity, self.device = capacity, device
        self.last_tokens = torch.zeros(capacity.slots + 1, dtype=torch.int64, device=device)
        self.page_table = torch.zeros((capacity.slots + 1, capacity.pages_a_slot), dtype=torch.int32, device=device)
        self.page_table[capacity.slots] = capacity.pages
        self.sampling = SamplingTable(capacity.slots, capacity.vocab, device)
        self.position_offsets = torch.zeros_like(self.last_tokens) if three_axes else None
        self.histories: dict[int, Array] = {}
        self._cells: Array | None = None
        self._pages: Array = np.zeros(0, dtype=np.int64)

    @property
    def padding_slot(self) -> int:
        """The slot of padding rows."""
        return self.capacity.slots

    def apply(self, plan: Plan, slots: SlotTable, kv: KvCache) -> None:
        """Carries out attach and copies of a plan that `slots` has taken in, and keeps its new pages for its step."""
        self._cells = None
        for slot in plan.detach.tolist():
            self.histories.pop(slot, None)
        if plan.attach:
            self.sampling.attach(plan.attach)
            if self.position_offsets is not None:
                pairs = np.array([(request.slot, request.position_offset) for request in plan.attach], dtype=np.int64)
                attached, offsets = to_device(pairs.T, self.device)
                self.position_offsets.index_copy_(0, attached, offsets)
            for request in plan.attach:
                if request.sampling.prompt_logprobs >= 0:
                    known = known_tokens(request)
                    # What stands for a picture has no place among the vocabulary's log-probabilities.
                    self.histories[request.slot] = np.where(known < FIRST_SYNTHETIC, known, 0)
        if plan.copies.size:
            source, target = to_device(plan.copies.T, self.device)
            kv.copy_pages(source, target)
        if plan.new_pages.size:
            rows = np.repeat(plan.slots, np.diff(plan.page_starts))
            self._cells = rows * self.page_table.shape[1] + slots.new_page_columns(plan)
            self._pages = plan.new_pages

    def pack_pages(self, packed: Packed) -> None:
        """Adds the new pages of the plan applied last to the transfer of its step."""
        if self._cells is not None:
            packed.add("state.cells", self._cells)
            packed.add("state.pages", self._pages)
            self._cells = None

    def take_pages(self, packed: Packed) -> None:
        """Writes the new pages, once they are sent; before anything that reads a page table."""
        if "state.cells" in packed:
            self.page_table.view(-1).index_copy_(0, packed["state.cells"], packed["state.pages"].to(torch.int32))

    def rotary_of(self, slots: Tensor, positions: Tensor) -> Tensor:
        """int64 [n]; the rotary positions of tokens after the prompts of slots int64 [n], at positions int64 [n]."""
        if self.position_offsets is None:
            return positions
        return positions + self.position_offsets.index_select(0, slots)

    def tokens_of(self, slots: Tensor) -> Tensor:
        """int64 [n]; the last tokens of slots int64 [n]."""
        return self.last_tokens.index_select(0, slots)

    def page_tables_of(self, slots: Tensor) -> Tensor:
        """int32 [n, pages of a slot]; the page tables of slots int64 [n]."""
        return self.page_table.index_select(0, slots)
