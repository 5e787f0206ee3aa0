"""Makes the plans of the steps that are measured, without a router."""

from __future__ import annotations

import numpy as np

from lightllm_rs.backend.base import LaunchedStep, ModelBackend
from lightllm_rs.backend.plan import read_plan
from lightllm_rs.messages.frames import pack_u32
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import EMITS, FROM_LAST, Attach, StepPlan

GREEDY = Sampling(temperature=0.0)


class Steps:
    """Steps of decode rows of one length, with one prompt beside them.

    The KV cache behind a row holds whatever is there: a step takes as long with it as with a real prefix.

    Args:
        backend: its model is loaded.
    """

    def __init__(self, backend: ModelBackend) -> None:
        self._backend, self._capacity = backend, backend.capacity
        self._step = 0
        self._rows = self._position = self._pages_a_row = 0
        self._prompt_slots: list[int] = []

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt that there is room for."""
        return min(self._capacity.context, self._capacity.pages * self._capacity.page_size)

    def fits(self, prefill: int, rows: int, context: int, steps: int) -> bool:
        """Whether the KV cache has room for so many steps of these rows beside the prompt."""
        size = self._capacity.page_size
        needed = rows * -(-(context + steps) // size) + -(-prefill // size)
        return needed <= self._capacity.pages and context + steps <= self._capacity.context

    def hold(self, rows: int, context: int, steps: int) -> None:
        """Attaches `rows` requests of `context` tokens, with room for `steps` steps, in place of those before."""
        size = self._capacity.page_size
        detach = [*range(self._rows), *self._prompt_slots]
        self._rows, self._position, self._prompt_slots = rows, context, []
        self._pages_a_row = -(-(context + steps) // size)
        told = -(-context // size)
        slots = np.arange(rows)
        table = np.stack([slots, 0 * slots + context - 1, 0 * slots + 1, 0 * slots + told, 0 * slots + EMITS], axis=1)
        pages = slots[:, None] * self._pages_a_row + np.arange(told)
        attach = [Attach(slot, context, GREEDY) for slot in slots.tolist()]
        self._launch(detach, attach, table, pages.ravel(), np.zeros(rows)).outcome()

    def launch(self, prefill: int, start: int = 0) -> LaunchedStep:
        """One token for all rows that are held, and `prefill` tokens from position `start` of a new prompt."""
        size, slots = self._capacity.page_size, np.arange(self._rows)
        new = int(self._position % size == 0)
        table = np.stack([slots, 0 * slots + self._position, 0 * slots + 1, 0 * slots + new, 0 * slots], axis=1)
        table[:, 4] = EMITS | FROM_LAST
        pages = slots * self._pages_a_row + self._position // size if new else slots[:0]
        self._position += 1

        detach, self._prompt_slots = self._prompt_slots, []
        attach = []
        if prefill:
            count, first = -(-(start + prefill) // size), self._rows * self._pages_a_row
            self._prompt_slots = [self._rows]
            attach = [Attach(self._rows, start + prefill, GREEDY)]
            table = np.concatenate([table, [[self._rows, start, prefill, count, EMITS]]])
            pages = np.concatenate([pages, np.arange(first, first + count)])
        return self._launch(detach, attach, table, pages, np.arange(prefill) % self._capacity.vocab)

    def _launch(
        self, detach: list[int], attach: list[Attach], rows: object, pages: object, ids: object
    ) -> LaunchedStep:
        self._step += 1
        message = StepPlan(
            step=self._step,
            detach=pack_u32(np.array(detach, dtype=np.int64)),
            attach=attach,
            copies=b"",
            rows=pack_u32(np.asarray(rows)),
            new_pages=pack_u32(np.asarray(pages)),
            token_ids=pack_u32(np.asarray(ids)),
        )
        return self._backend.launch(read_plan(message, self._capacity))
