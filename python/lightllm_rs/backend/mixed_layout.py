"""The input of a captured step that prefills: one int64 array of a fixed layout, and the batch that it stands for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.plan import Array
from lightllm_rs.backend.prefix_work import ITEMS, PREFIX_ROWS, prefix_words, prefix_work, prefixes_of
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.layers.batch import Batch
from lightllm_rs.layers.image_rows import MaskedRows
from lightllm_rs.messages.steps import GROUP_WORDS

PREFILL_ROWS = 16
"""Most prefill rows of a step; one row more takes the padding tokens."""

NOWHERE = -1
"""Cache index of a padding token: its key and value are not written."""


class MixedLayout:
    """Room for D decode rows and T prefill tokens, which may stand for pictures where the model sees.

    Padding decode rows belong to the padding slot; padding tokens are one more prefill row of that slot. The array:
    slots [D], positions [D]; ids [T], rotary positions [T] ([3, T] where they have three axes), cache indices [T]; and
    of the R = PREFILL_ROWS + 1 prefill rows slots [R], lengths [R], last tokens [R] (counted from token D), starts
    [R + 1]; if the model sees, which tokens are pictures' [T]; and the words of shared prefixes, if D is PREFIX_ROWS or
    more.

    Attributes:
        decodes, tokens: D and T; tokens is at most the context, as the padding is one request.
        size: of the array.
    """

    def __init__(self, decodes: int, tokens: int, state: DeviceState, *, sees: bool = False) -> None:
        self.decodes, self.tokens, self._state, self._sees = decodes, tokens, state, sees
        self._axes = 1 if state.position_offsets is None else 3
        rows = PREFILL_ROWS + 1
        prefixes = prefix_words(decodes) if decodes >= PREFIX_ROWS else 0
        seen = tokens if sees else 0
        rope = self._axes * tokens
        self._sizes = [decodes, decodes, tokens, rope, tokens, rows, rows, rows, rows + 1, seen, prefixes]
        self.size = sum(self._sizes)

    def array(self, rows: StepRows | None) -> Array:
        """int64 [size]; of a step that there is room for, or of padding alone."""
        nothing = np.zeros(0, dtype=np.int64)
        if rows is None:
            padding = self._padded(nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing)
            return np.concatenate([padding, self._seen(None), self._prefixes(None)])
        count = rows.decode_rows
        padded = self._padded(
            rows.slots[:count],
            rows.positions[:count],
            rows.token_ids,
            rows.rope[..., count:],
            rows.cache_indices[count:],
            rows.slots[count:],
            rows.ends[count:],
            rows.last_tokens[count:] - count,
        )
        return np.concatenate([padded, self._seen(rows), self._prefixes(rows)])

    def outputs(self, rows: Array, decode_rows: int) -> Array:
        """Where the hidden states of a step's rows are among those of the batch."""
        found: Array = np.where(rows < decode_rows, rows, rows - decode_rows + self.decodes)
        return found

    def _padded(
        self,
        decode_slots: Array,
        decode_positions: Array,
        ids: Array,
        positions: Array,
        cache_indices: Array,
        slots: Array,
        lengths: Array,
        lasts: Array,
    ) -> Array:
        tokens, padding_slot = self.tokens, self._state.padding_slot
        padding = tokens - ids.size
        rows = slots.size
        starts = np.full(
            PREFILL_ROWS + 2, ids.size, dtype=np.int64
        )  # rows between the real ones and the last are empty
        starts[0], starts[1 : rows + 1], starts[-1] = 0, lasts + 1, tokens
        all_lengths = np.zeros(PREFILL_ROWS + 1, dtype=np.int64)
        all_lengths[:rows], all_lengths[-1] = lengths, padding
        return np.concatenate(
            [
                _fill(decode_slots, self.decodes, padding_slot),
                _fill(decode_positions, self.decodes, 0),
                _fill(ids, tokens, 0),
                *self._rope(positions, padding),
                _fill(cache_indices, tokens, NOWHERE),
                _fill(slots, PREFILL_ROWS + 1, padding_slot),
                all_lengths,
                _fill(lasts, PREFILL_ROWS + 1, 0),
                starts,
            ]
        )

    def _rope(self, positions: Array, padding: int) -> list[Array]:
        """Rotary positions, axis after axis, each with its padding."""
        axes = [positions] * self._axes if positions.ndim == 1 else list(positions)
        return [part for axis in axes for part in (axis, np.arange(padding))]

    def _seen(self, rows: StepRows | None) -> Array:
        seen = np.zeros(self.tokens if self._sees else 0, dtype=np.int64)
        if rows is not None and rows.images is not None:
            seen[rows.images.tokens - rows.decode_rows] = 1
        return seen

    def _prefixes(self, rows: StepRows | None) -> Array:
        if not self._sizes[-1]:
            return np.zeros(0, dtype=np.int64)
        groups = np.zeros((0, GROUP_WORDS), dtype=np.int64) if rows is None else rows.groups
        return prefix_work(groups, self.decodes, self._state.capacity.page_size).words(ITEMS)

    def batch(self, inputs: Tensor, features: Tensor | None = None) -> Batch:
        """The batch of an array (int64 [size], on the device), made on the device.

        features: [T or more, width], row t those of prefill token t if it is a picture's; None on ranks without.
        """
        decodes, state = self.decodes, self._state
        parts = torch.split(inputs, self._sizes)
        decode_slots, decode_positions, ids, positions, cache_indices, slots, lengths, lasts, starts, seen, prefixes = (
            parts
        )
        tables = state.page_tables_of(decode_slots)
        page_size = state.capacity.page_size
        pages = tables.gather(1, (decode_positions // page_size).unsqueeze(-1)).squeeze(-1).to(torch.int64)
        rope = state.rotary_of(decode_slots, decode_positions)
        axes = () if self._axes == 1 else (self._axes,)
        rope = rope.expand(*axes, -1)
        images = None
        if self._sees:
            rows = None if features is None else features[: self.tokens]
            images = MaskedRows(decodes, (seen != 0).unsqueeze(-1), rows)
        return Batch(
            token_ids=torch.cat([state.tokens_of(decode_slots), ids]),
            positions=torch.cat([rope, positions.view(*axes, -1)], dim=-1),
            slot_pages=torch.cat([pages * page_size + decode_positions % page_size, cache_indices]),
            output_rows=torch.cat([torch.arange(decodes, device=slots.device), lasts + decodes]),
            ends=True,
            decode_rows=decodes,
            decode_page_table=tables,
            decode_lengths=(decode_positions + 1).to(torch.int32),
            decode_prefixes=prefixes_of(prefixes, decodes) if prefixes.shape[0] else None,
            prefill_page_table=state.page_tables_of(slots),
            prefill_starts=starts.to(torch.int32),
            prefill_lengths=lengths.to(torch.int32),
            images=images,
        )


def _fill(values: Array, size: int, padding: int) -> Array:
    return np.pad(values, (0, size - values.size), constant_values=padding)
