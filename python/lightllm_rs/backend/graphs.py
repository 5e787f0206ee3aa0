"""Captured CUDA graphs of decode steps: one launch in place of some hundred."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.forward import decode_batch_of
from lightllm_rs.backend.prefix_work import ITEMS, PREFIX_ROWS, prefix_words, prefix_work
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM


def batch_sizes(slots: int) -> list[int]:
    """Sizes that are captured, ascending: 1, 2, 4, multiples of 8 up to 256 and of 32 beyond, and `slots` itself."""
    sizes = {1, 2, 4, *range(8, 257, 8), *range(288, slots + 1, 32), slots}
    return sorted(size for size in sizes if size <= slots)


class DecodeGraphs:
    """Graphs of the forward pass of decode rows, up to the final hidden states.

    A step with n rows runs the smallest graph that has room for them; the rest are padding rows of the padding slot.
    The head and the sampler run after the graph: logits of all sizes would take gigabytes of the graphs' memory.

    Attributes:
        sizes: batch sizes, ascending.
        largest: the last of them.
    """

    def __init__(self, model: CausalLM, kv: KvCache, state: DeviceState, pool: Any) -> None:
        self._state = state
        self.sizes = batch_sizes(state.capacity.slots)
        self.largest = self.sizes[-1]
        device = state.device
        self._slots = torch.full((self.largest,), state.padding_slot, dtype=torch.int64, device=device)
        self._positions = torch.zeros(self.largest, dtype=torch.int64, device=device)
        self._prefixes = torch.zeros(prefix_words(self.largest), dtype=torch.int64, device=device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        for size in reversed(self.sizes):  # the largest first: the others fit into its memory
            self._graphs[size] = self._capture(size, model, kv, pool)
        torch.cuda.synchronize()

    @torch.inference_mode()
    def _capture(self, size: int, model: CausalLM, kv: KvCache, pool: Any) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        inputs = self._slots[:size], self._positions[:size], self._prefixes_of(size)
        model(decode_batch_of(*inputs, self._state), kv)  # compiles kernels, which a capture must not
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            hidden: Tensor = model(decode_batch_of(*inputs, self._state), kv)
        return graph, hidden

    def fits(self, rows: StepRows) -> bool:
        """Whether the step is one of decode rows that a graph has room for."""
        return rows.decode_rows == rows.slots.size == rows.emitting.size <= self.largest

    def pack(self, rows: StepRows, packed: Packed) -> None:
        """Adds slots, positions and shared prefixes, padded, to a transfer."""
        size = self._size(rows)
        padding = size - rows.slots.size
        packed.add("graph.slots", np.pad(rows.slots, (0, padding), constant_values=self._state.padding_slot))
        packed.add("graph.positions", np.pad(rows.positions, (0, padding)))
        if size >= PREFIX_ROWS:
            packed.add("graph.prefixes", prefix_work(rows.groups, size, rows.page_size).words(ITEMS))

    def run(self, rows: StepRows, packed: Packed, features: Tensor | None) -> Tensor:
        """The final hidden states [n, hidden] of n rows; good until the next run. Decode rows have no features."""
        size = self._size(rows)
        self._slots[:size].copy_(packed["graph.slots"])
        self._positions[:size].copy_(packed["graph.positions"])
        prefixes = self._prefixes_of(size)
        if prefixes is not None:
            prefixes.copy_(packed["graph.prefixes"])
        graph, hidden = self._graphs[size]
        graph.replay()
        return hidden[: rows.slots.size]

    def _prefixes_of(self, size: int) -> Tensor | None:
        return self._prefixes[: prefix_words(size)] if size >= PREFIX_ROWS else None

    def _size(self, rows: StepRows) -> int:
        return next(size for size in self.sizes if size >= rows.slots.size)
