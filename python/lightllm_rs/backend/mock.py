"""A backend without a model: tokens are a pure function of the prefix, and a step takes as long as it is told to.

Its "KV cache" holds, for each position of each page, the rolling hash of the prefix up to there. A row goes on from the
hash that its page table points to, so a wrong page, position or stale slot in a plan gives wrong tokens.
"""

from __future__ import annotations

import time

import numpy as np

from lightllm_rs.backend.base import LaunchedStep, ModelBackend, Outcome, PhaseReporter
from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.mock_logprobs import row_extra
from lightllm_rs.backend.mock_tokens import EMPTY, Powers, emitted, next_hashes, row_hashes
from lightllm_rs.backend.model_files import read_config
from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.plan import Array, Plan, ranges
from lightllm_rs.backend.slots import SlotTable
from lightllm_rs.checkpoint import CheckpointError

PAGE_SIZE, SLOTS, CONTEXT, CACHE_TOKENS = 16, 256, 1 << 17, 1 << 20


class TimedStep(LaunchedStep):
    """A step whose outcome is known and may be told at `end` (of time.perf_counter)."""

    def __init__(self, outcome: Outcome, end: float) -> None:
        self._outcome, self._end = outcome, end

    def remaining(self) -> float:
        return max(0.0, self._end - time.perf_counter())

    def outcome(self) -> Outcome:
        while (left := self.remaining()) > 0:
            time.sleep(left)
        return self._outcome


class MockBackend(ModelBackend):
    """See the module. Honours logprobs and prompt_logprobs; of the rest of the sampling settings nothing counts."""

    def init_model(self, options: BackendOptions, phase: PhaseReporter) -> Capacity:
        began = time.perf_counter()
        config = read_config(options)
        try:
            context = min(config.context(options.context or None), CONTEXT)
        except CheckpointError as error:
            raise BackendError(str(error)) from None
        page_size = options.page_size or PAGE_SIZE
        tokens = options.kv_cache_tokens or max(CACHE_TOKENS, context)
        self.open(Capacity(tokens // page_size, page_size, options.slots or SLOTS, config.vocab, context))
        self._step_seconds = options.mock_step_ms / 1e3
        self._token_seconds = options.mock_prefill_us / 1e6
        phase("mock", time.perf_counter() - began, f"{self.capacity.pages} pages of {page_size} tokens")
        return self.capacity

    def open(self, capacity: Capacity) -> None:
        """Makes an empty cache; all of `init_model` that needs no model."""
        self.capacity = capacity
        self.slots = SlotTable(capacity)
        self._cache = np.zeros((capacity.pages, capacity.page_size), dtype=np.uint64)
        self._last = np.zeros(capacity.slots, dtype=np.int64)
        self._powers = Powers(capacity.context)
        self._step_seconds = self._token_seconds = 0.0
        self._free_at = 0.0

    def apply_changes(self, plan: Plan) -> None:
        for source, target in plan.copies.tolist():
            self._cache[target] = self._cache[source]
        # The device runs one step after the other.
        self._free_at = max(time.perf_counter(), self._free_at) + self._step_seconds

    def decode_batch(self, plan: Plan, rows: Array) -> LaunchedStep:
        slots, starts = plan.slots[rows], plan.starts[rows]
        hashes = next_hashes(self._before(slots, starts), self._last[slots])
        self._write(slots, starts, hashes)
        return self._emit(plan, rows, hashes, np.arange(rows.size + 1))

    def prefill_batch(self, plan: Plan, rows: Array) -> LaunchedStep:
        slots, starts, counts = plan.slots[rows], plan.starts[rows], plan.tokens[rows]
        hashes = row_hashes(self._before(slots, starts), plan.token_ids, counts, self._powers)
        self._write(np.repeat(slots, counts), ranges(starts, counts), hashes)
        self._free_at += self._token_seconds * hashes.size
        return self._emit(plan, rows, hashes, np.append(plan.token_starts[rows], hashes.size))

    def _before(self, slots: Array, starts: Array) -> Array:
        """The hashes of what stands before the rows, as the page tables have it."""
        positions = np.maximum(starts - 1, 0)
        page_size = self.capacity.page_size
        found = self._cache[self.slots.page_table[slots, positions // page_size], positions % page_size]
        before: Array = np.where(starts == 0, EMPTY, found)
        return before

    def _write(self, slots: Array, positions: Array, hashes: Array) -> None:
        page_size = self.capacity.page_size
        self._cache[self.slots.page_table[slots, positions // page_size], positions % page_size] = hashes

    def _emit(self, plan: Plan, rows: Array, hashes: Array, parts: Array) -> LaunchedStep:
        """The tokens after hashes[parts[i + 1] - 1], to be told when a device that takes its time would be done."""
        vocab = self.capacity.vocab
        tokens = emitted(hashes[parts[1:] - 1], vocab)
        emits = plan.emits[rows]
        self._last[plan.slots[rows[emits]]] = tokens[emits]
        extras = []
        for index in np.flatnonzero(self.slots.reports[plan.slots[rows]]).tolist():
            attach = self.slots.attachment(int(plan.slots[rows[index]]))
            extras.append(row_extra(plan, int(rows[index]), attach, hashes[parts[index] : parts[index + 1]], vocab))
        return TimedStep(Outcome(rows[emits], tokens[emits], extras), self._free_at)
